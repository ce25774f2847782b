/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forwarder/event_ring.h"
#include "forwarder/http_server.h"
#include "forwarder/json.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"

#define API_VERSION 1
#define FORWARD_SIZE_MAX 4096
#define IDLE_TIMEOUT_S 10

struct control {
	struct loop *loop;
	struct control_ops ops;
	struct http_server *server;
	struct event_ring events;
	uint64_t start_ms;
};

struct control_status {
	struct json_writer *w;
};

static const struct {
	int error;
	unsigned int status;
} statuses[] = {
	{ -EINVAL, 400 }, { -E2BIG, 413 },	{ -EPERM, 403 },
	{ -EACCES, 403 }, { -ENOENT, 404 },	{ -EEXIST, 409 },
	{ -ENOSPC, 507 }, { -EADDRINUSE, 409 }, { -EOPNOTSUPP, 501 },
};

static unsigned int status_of(int error)
{
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		if (statuses[i].error == error)
			return statuses[i].status;
	}
	return 500;
}

/* {} or the error. */
static void reply_result(struct http_reply *reply, int result, const char *error)
{
	if (result < 0)
		http_reply_error(reply, status_of(result), "%s",
				 *error ? error : strerror(-result));
	else
		http_reply_json(reply, 200, strdup("{}"));
}

static void get_version(void *arg, const struct http_request *request, struct http_reply *reply)
{
	struct json_writer *w = json_writer_new();

	(void)arg;
	(void)request;
	json_open_object(w, NULL);
	json_put_string(w, "version", NETFWD_VERSION);
	json_put_integer(w, "api", API_VERSION);
	http_reply_json(reply, 200, json_writer_finish(w));
}

/* ---- status ---- */

/* JSON's integers are signed here; nobody has moved 8 EiB. */
static void put_count(struct json_writer *w, const char *key, uint64_t value)
{
	json_put_integer(w, key, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

void control_status_guest(struct control_status *s, const struct control_guest *guest)
{
	struct json_writer *w = s->w;

	json_open_object(w, NULL);
	json_put_string(w, "name", guest->name);
	json_put_string(w, "link", guest->link);
	json_put_string(w, "path", guest->path);
	json_put_string(w, "addresses", guest->addresses);
	json_put_string(w, "mac", guest->mac);
	put_count(w, "lease_until", guest->lease_until);
	json_put_bool(w, "connected", guest->is_connected);
	put_count(w, "bytes_to_guest", guest->bytes_to_guest);
	put_count(w, "bytes_to_host", guest->bytes_to_host);
	json_close(w);
}

void control_status_forward(struct control_status *s, const struct control_published *forward)
{
	struct json_writer *w = s->w;

	json_open_object(w, NULL);
	json_put_string(w, "guest_name", forward->guest_name);
	json_put_string(w, "proto", forward_proto_name(forward->proto));
	json_put_bool(w, "reverse", forward->is_reverse);
	json_put_string(w, "host", forward->host);
	json_put_string(w, "guest", forward->guest);
	json_put_string(w, "via", forward->via);
	json_put_string(w, "state", forward->state);
	json_put_string(w, "rule", forward->rule);
	put_count(w, "connections", forward->connections);
	put_count(w, "connections_total", forward->connections_total);
	put_count(w, "bytes_to_guest", forward->bytes_to_guest);
	put_count(w, "bytes_to_host", forward->bytes_to_host);
	json_put_string(w, "error", forward->error);
	json_close(w);
}

void control_status_way(struct control_status *s, const struct control_way *way)
{
	struct json_writer *w = s->w;

	json_open_object(w, NULL);
	json_put_string(w, "name", way->name);
	json_put_string(w, "guest_name", way->guest_name);
	json_put_string(w, "state", way->state);
	json_put_string(w, "error", *way->error ? way->error : NULL);
	json_close(w);
}

void control_status_counter(struct control_status *s, const char *name, uint64_t value)
{
	put_count(s->w, name, value);
}

static void put_own_counters(const struct control *c, struct json_writer *w)
{
	const struct http_counters *counters = http_server_counters(c->server);

	json_open_object(w, "control");
	put_count(w, "connections", counters->accepted);
	put_count(w, "requests", counters->requests);
	put_count(w, "refused", counters->refused);
	put_count(w, "foreign_users", counters->foreign_users);
	put_count(w, "events", c->events.n_added);
	json_close(w);
}

static void get_status(void *arg, const struct http_request *request, struct http_reply *reply)
{
	struct control *c = arg;
	struct control_status s = { .w = json_writer_new() };

	(void)request;
	json_open_object(s.w, NULL);
	json_put_string(s.w, "version", NETFWD_VERSION);
	json_put_integer(s.w, "pid", getpid());
	put_count(s.w, "uptime_ms", loop_now_ms(c->loop) - c->start_ms);
	json_open_array(s.w, "guests");
	c->ops.list_guests(c->ops.arg, &s);
	json_close(s.w);
	json_open_array(s.w, "ways");
	c->ops.list_ways(c->ops.arg, &s);
	json_close(s.w);
	json_open_array(s.w, "forwards");
	c->ops.list_forwards(c->ops.arg, &s);
	json_close(s.w);
	json_open_object(s.w, "counters");
	c->ops.list_counters(c->ops.arg, &s);
	json_close(s.w);
	put_own_counters(c, s.w);
	http_reply_json(reply, 200, json_writer_finish(s.w));
}

/* ---- events ---- */

static void on_event(void *arg, const char *event)
{
	struct control *c = arg;

	event_ring_add(&c->events, event);
	http_server_wake(c->server);
}

static ssize_t read_events(void *arg, char *to, size_t max)
{
	return (ssize_t)event_reader_read(arg, to, max);
}

static void close_events(void *arg)
{
	event_reader_deinit(arg);
	free(arg);
}

static void follow_events(struct control *c, struct http_reply *reply)
{
	struct event_reader *reader = malloc(sizeof(*reader));

	reply->status = 200;
	if (!reader)
		return; /* no body: out of memory */
	event_reader_init(reader, &c->events);
	reply->stream = (struct http_stream){
		.read = read_events,
		.close = close_events,
		.arg = reader,
	};
}

static void list_events(struct control *c, struct http_reply *reply)
{
	struct event_reader reader;
	size_t size = 128; /* for a word on events that are missing */

	for (size_t i = 0; i < EVENT_RING_SIZE; i++)
		size += c->events.lines[i] ? strlen(c->events.lines[i]) : 0;
	reply->status = 200;
	reply->body = malloc(size);
	if (!reply->body)
		return;
	event_reader_init(&reader, &c->events);
	size = event_reader_read(&reader, reply->body, size - 1);
	reply->body[size] = '\0';
	event_reader_deinit(&reader);
}

static void get_events(void *arg, const struct http_request *request, struct http_reply *reply)
{
	const char *follow = http_query(request, "follow");

	reply->type = "application/x-ndjson";
	if (follow && strcmp(follow, "1") == 0)
		follow_events(arg, reply);
	else if (!follow || strcmp(follow, "0") == 0)
		list_events(arg, reply);
	else
		http_reply_error(reply, 400, "follow is 0 or 1");
}

/* ---- what changes something ---- */

typedef int forward_fn(void *arg, const struct control_forward *forward, char *error);

static void change_forward(struct control *c, forward_fn *change,
			   const struct http_request *request, struct http_reply *reply)
{
	char error[CONTROL_ERROR_SIZE] = "";
	struct control_forward forward;
	int r = control_decode_forward(request->body, request->body_len, &forward, error);

	if (r == 0)
		r = change(c->ops.arg, &forward, error);
	reply_result(reply, r, error);
}

static void post_forward(void *arg, const struct http_request *request, struct http_reply *reply)
{
	struct control *c = arg;

	change_forward(c, c->ops.expose, request, reply);
}

static void delete_forward(void *arg, const struct http_request *request, struct http_reply *reply)
{
	struct control *c = arg;

	change_forward(c, c->ops.unexpose, request, reply);
}

static void post_listeners(void *arg, const struct http_request *request, struct http_reply *reply)
{
	struct control *c = arg;
	char error[CONTROL_ERROR_SIZE] = "";
	struct control_report report;
	int r = control_decode_report(request->body, request->body_len, &report, error);

	if (r == 0) {
		r = c->ops.report(c->ops.arg, request->name, &report, error);
		control_report_deinit(&report);
	}
	reply_result(reply, r, error);
}

static void post_reload(void *arg, const struct http_request *request, struct http_reply *reply)
{
	struct control *c = arg;
	char error[CONTROL_ERROR_SIZE] = "";

	(void)request;
	reply_result(reply, c->ops.reload(c->ops.arg, error), error);
}

static const struct http_route routes[] = {
	{ "GET", "/v1/version", 0, get_version },
	{ "GET", "/v1/status", 0, get_status },
	{ "GET", "/v1/events", 0, get_events },
	{ "POST", "/v1/forwards", FORWARD_SIZE_MAX, post_forward },
	{ "DELETE", "/v1/forwards", FORWARD_SIZE_MAX, delete_forward },
	{ "POST", "/v1/guests/*/listeners", CONTROL_REPORT_SIZE_MAX, post_listeners },
	{ "POST", "/v1/reload", FORWARD_SIZE_MAX, post_reload },
};

int control_new(struct loop *loop, const char *path, const struct control_ops *ops,
		struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));
	struct http_server_config config = {
		.path = path,
		.routes = routes,
		.n_routes = sizeof(routes) / sizeof(routes[0]),
		.arg = c,
		.idle_timeout_s = IDLE_TIMEOUT_S,
	};
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->ops = *ops;
	c->start_ms = loop_now_ms(loop);
	r = http_server_new(loop, &config, &c->server);
	if (r < 0) {
		free(c);
		return r;
	}
	log_set_observer(on_event, c);
	*out = c;
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	log_set_observer(NULL, NULL);
	http_server_free(control->server);
	event_ring_deinit(&control->events);
	free(control);
}
