/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses of the Internet protocol a program may be sent to by somebody who is not trusted. Those of
 * the public network, as the registries of special-purpose addresses have them (RFC 6890, as IANA keeps it),
 * and those that the settings list.
 */
#ifndef TALLYGATE_BASE_NETWORK_H
#define TALLYGATE_BASE_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* Whether `list` is networks as in 10.0.0.0/8 or ::1, separated by spaces; else *ret_word is the first word
 * that is none, of *ret_length bytes. */
bool network_list_valid(const char *list, const char **ret_word, size_t *ret_length);
/* Whether a connection to `address` may be made: it is a public one, or within a network of `list`, and
 * not within one of `denied`; both are valid. Anything but IPv4 and IPv6 may not. */
bool network_allowed(const char *list, const char *denied, const struct sockaddr *address);
/* The same for a text that is an address; *ret_is_address false, and the result true, when it is none. */
bool network_text_allowed(const char *list, const char *denied, const char *text, bool *ret_is_address);

#endif
