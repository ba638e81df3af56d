/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema's versions. The migrations of sql/migrations/ are compiled in; the table
 * schema_migrations remembers which were applied, when, and the SHA-256 of their text, so that an
 * edited old migration is noticed. One advisory lock lets one migrator work at a time; each
 * migration is one transaction.
 */
#ifndef TALLYGATE_STORE_MIGRATE_H
#define TALLYGATE_STORE_MIGRATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "store/pg.h"

struct migration {
    int version; /* 1, 2, 3 … without gaps */
    const char *name;
    const char *up;
    const char *down;
};

/* All that this program knows, in order; made by dev/embed-sql. */
extern const struct migration MIGRATIONS[];
extern const size_t MIGRATIONS_COUNT;

struct migration_state {
    int version;
    const char *name;
    bool applied;
    char applied_at[40];
};

enum { MIGRATE_ERROR_SIZE = 512 };

/* The version that this program needs: its newest migration. */
int migrate_required(void);
/* The version that the database has; 0 when it was never migrated. */
enum err migrate_current(struct pg *pg, int *ret_version);

/* What happens to each migration is told to `report` (applied or reverted, with its name). On
 * failure ret_error says why in a line. */
typedef void migrate_report(const struct migration *migration, const char *what, void *argument);
/* Apply what is missing. A database that has later ones as well is left as it is: it serves us (HACKING.md).
 * *ret_newest is the version that it has in the end. */
bool migrate_up(struct pg *pg, migrate_report *report, void *argument, int *ret_newest,
                char ret_error[MIGRATE_ERROR_SIZE]);
/* Let another role than the schema's owner serve requests: it reads and writes rows, and changes neither the
 * schema nor the audit log. */
enum err migrate_grant(struct pg *pg, const char *application_role);
/* Revert the newest `steps`; not where there are later ones than we know. */
bool migrate_down(struct pg *pg, int steps, migrate_report *report, void *argument,
                  char ret_error[MIGRATE_ERROR_SIZE]);
/* One row for each known migration; ret_states has MIGRATIONS_COUNT elements. Also checks the
 * checksums. *ret_newest is the newest version that was applied, which may be later than all of them. */
bool migrate_status(struct pg *pg, struct migration_state *ret_states, int *ret_newest,
                    char ret_error[MIGRATE_ERROR_SIZE]);

#endif
