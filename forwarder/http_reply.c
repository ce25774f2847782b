/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/http_reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "forwarder/json.h"

void http_reply_json(struct http_reply *reply, unsigned int status, char *text)
{
	reply->status = status;
	reply->type = "application/json";
	reply->body = NULL;
	if (text && asprintf(&reply->body, "%s\n", text) < 0)
		reply->body = NULL;
	free(text);
}

void http_reply_error(struct http_reply *reply, unsigned int status, const char *fmt, ...)
{
	struct json_writer *w = json_writer_new();
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_open_object(w, NULL);
	json_put_string(w, "error", text);
	http_reply_json(reply, status, json_writer_finish(w));
}
