/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a hash for tables whose keys come from outside. Who does
 * not know the secret cannot choose keys that fall into one bucket. It is no digest: what must not be
 * mistaken for another is compared in full.
 */
#ifndef TALLYGATE_BASE_SIPHASH_H
#define TALLYGATE_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

enum { SIPHASH_SECRET_SIZE = 16 };

uint64_t siphash(const uint8_t secret[SIPHASH_SECRET_SIZE], const void *data, size_t length);

#endif
