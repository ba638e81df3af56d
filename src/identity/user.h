/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts as administrators and services see them, and everybody their own. */
#ifndef TALLYGATE_IDENTITY_USER_H
#define TALLYGATE_IDENTITY_USER_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* Whether the caller's account is an administrator's, as the database says now. ERR_FORBIDDEN when not;
 * ERR_UNAUTHENTICATED when the account is gone or switched off. */
enum err user_check_admin(struct request *request, struct response *response);

/* Answer with the account; ERR_NOT_FOUND when there is none. */
enum err user_answer(struct request *request, struct response *response, int64_t user_id);

/* GET /users?search=&role=&is_active=&limit=&cursor=: for administrators. */
enum err user_list(struct request *request, struct response *response);
/* GET /users/{id}: for administrators and services, and of oneself. */
enum err user_show(struct request *request, struct response *response);
/* PATCH /users/{id}: {role, is_active, username, full_name}, for administrators, and not of oneself. */
enum err user_change(struct request *request, struct response *response);
/* GET /users/me */
enum err user_show_me(struct request *request, struct response *response);
/* PATCH /users/me: as PUT /auth/profile */
enum err user_change_me(struct request *request, struct response *response);

/* The account with this address, or this id in digits. ERR_NOT_FOUND when there is none. */
enum err user_find(struct pg *pg, const char *who, int64_t *ret_user_id);

#endif
