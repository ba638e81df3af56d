/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

/* Raise the first number whenever a field changes its meaning; the size catches the rest. */
static const uint64_t LAYOUT = (UINT64_C(2) << 32) | sizeof(struct metrics);

static struct metrics *map(int fd)
{
    void *p = mmap(NULL, sizeof(struct metrics), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

struct metrics *metrics_map(int fd, int *ret_fd)
{
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size == (off_t)sizeof(struct metrics)) {
        struct metrics *old = map(fd);
        if (old && old->layout == LAYOUT) {
            *ret_fd = fd;
            return old;
        }
        if (old) {
            munmap(old, sizeof(*old));
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    int made = memfd_create("tallygate-metrics", 0);
    if (made < 0) {
        return NULL;
    }
    struct metrics *metrics = ftruncate(made, sizeof(struct metrics)) == 0 ? map(made) : NULL;
    if (!metrics) {
        close(made);
        return NULL;
    }
    metrics->layout = LAYOUT;
    atomic_store(&metrics->started_us, clock_now_us());
    *ret_fd = made;
    return metrics;
}
