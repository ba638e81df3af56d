/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/options.h"

#include <stddef.h>
#include <string.h>

int ctl_read_options(int argc, char **argv, const struct option *options, const char **ret_texts)
{
    int found;
    for (const struct option *option = options; option->name; option++) {
        ret_texts[option->val] = NULL;
    }
    optind = 0; /* getopt begins anew: it has read what stands before the command */
    while ((found = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (found == '?') {
            return -1;
        }
        ret_texts[found] = optarg ? optarg : "";
    }
    return optind;
}

struct json_object *ctl_read_list(const char *text)
{
    struct json_object *list = json_object_new_array();
    while (*text) {
        size_t length = strcspn(text, ",");
        json_object_array_add(list, json_object_new_string_len(text, (int)length));
        text += length + (text[length] == ',');
    }
    return list;
}
