/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a run on its way to whoever asked for it. It is in the database, so every host has it and a
 * backup too. The host that is asked puts it into its cache_dir, from where nginx sends it
 * (X-Accel-Redirect): ranges, slow readers and repeats cost no thread of a pool. What lies there unasked for
 * a day is the business of systemd-tmpfiles. Where the directory takes nothing, the file goes through the
 * worker, as it does to an administrator at a shell.
 */
#ifndef TALLYGATE_REPORT_REPORT_FILE_H
#define TALLYGATE_REPORT_REPORT_FILE_H

#include "http/request.h"
#include "http/response.h"

struct report_file {
    const char *run_id; /* as uuid_format() has it: it is a part of the name on the disk */
    const char *format; /* and so is this */
    const char *name;   /* that the client may keep it under */
    int64_t size_bytes;
    int64_t made_us; /* when; it tells versions apart (Last-Modified, ETag), on all hosts alike */
};

/* Answer with it, in the workspace of the caller. ERR_NOT_FOUND when its days are over. */
enum err report_file_send(struct request *request, struct response *response, const struct report_file *file);

#endif
