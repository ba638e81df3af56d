/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: shortest form, no surrogates, nothing past U+10FFFF. */
#ifndef TALLYGATE_BASE_UTF8_H
#define TALLYGATE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length in bytes (1 to 4) of the well-formed sequence at `s`, or 0 when it is broken or cut. */
size_t utf8_sequence(const char *s, size_t length);
bool utf8_valid(const char *s, size_t length);
/* Number of code points; the text must be valid. */
size_t utf8_count(const char *s, size_t length);

#endif
