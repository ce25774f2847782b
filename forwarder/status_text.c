/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/status_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "forwarder/json.h"
#include "forwarder/text_table.h"

#define NUMBER_SIZE 32

static int64_t integer(const struct json *json, const char *key)
{
	int64_t value = 0;

	(void)json_as_integer(json_member(json, key), &value);
	return value;
}

static const char *string(const struct json *json, const char *key)
{
	const char *value = json_as_string(json_member(json, key));

	return value ? value : "-";
}

/* 999, 1.5 KiB, 20.0 GiB */
static const char *bytes(int64_t value, char text[static NUMBER_SIZE])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double amount = (double)value / 1024;
	size_t unit = 0;

	if (value < 1024) {
		(void)snprintf(text, NUMBER_SIZE, "%" PRId64, value);
		return text;
	}
	while (amount >= 1024) {
		amount /= 1024;
		unit++;
	}
	(void)snprintf(text, NUMBER_SIZE, "%.1f %s", amount, units[unit]);
	return text;
}

static void add_bytes(struct text_table *table, const struct json *json, const char *key)
{
	char text[NUMBER_SIZE];

	text_table_add(table, bytes(integer(json, key), text));
}

static void add_count(struct text_table *table, const struct json *json, const char *key)
{
	char text[NUMBER_SIZE];

	(void)snprintf(text, sizeof(text), "%" PRId64, integer(json, key));
	text_table_add(table, text);
}

static void add_all(struct text_table *table, const char *const cells[])
{
	for (; *cells; cells++)
		text_table_add(table, *cells);
}

/* Of the first table, which is wide enough. */
static const char *first_address(const struct json *guest, char address[static NUMBER_SIZE])
{
	const char *all = string(guest, "addresses");

	(void)snprintf(address, NUMBER_SIZE, "%.*s", (int)strcspn(all, " "), all);
	return address;
}

static void add_guest(struct text_table *table, const struct json *guest)
{
	char address[NUMBER_SIZE];
	bool is_connected = false;

	(void)json_as_bool(json_member(guest, "connected"), &is_connected);
	text_table_add(table, string(guest, "name"));
	text_table_add(table, string(guest, "link"));
	text_table_add(table, is_connected ? "connected" : "waiting");
	text_table_add(table, first_address(guest, address));
	add_bytes(table, guest, "bytes_to_guest");
	add_bytes(table, guest, "bytes_to_host");
	text_table_add(table, string(guest, "path"));
}

/* "static", or how long it still lasts. */
static void add_lease(struct text_table *table, const struct json *guest)
{
	int64_t until = integer(guest, "lease_until"), left = until - (int64_t)time(NULL);
	char text[NUMBER_SIZE] = "-";

	if (until == INT64_MAX)
		(void)snprintf(text, sizeof(text), "static");
	else if (until != 0)
		(void)snprintf(text, sizeof(text), "%s%" PRId64 ":%02d:%02d",
			       left < 0 ? "ended " : "", (left < 0 ? -left : left) / 3600,
			       (int)(llabs(left) / 60 % 60), (int)(llabs(left) % 60));
	text_table_add(table, string(guest, "name"));
	text_table_add(table, string(guest, "mac"));
	text_table_add(table, string(guest, "addresses"));
	text_table_add(table, text);
}

static void add_way(struct text_table *table, const struct json *way)
{
	text_table_add(table, string(way, "name"));
	text_table_add(table, string(way, "guest_name"));
	text_table_add(table, string(way, "state"));
	text_table_add(table, string(way, "error"));
}

static void add_forward(struct text_table *table, const struct json *forward)
{
	char proto[NUMBER_SIZE];
	bool is_reverse = false;

	(void)json_as_bool(json_member(forward, "reverse"), &is_reverse);
	(void)snprintf(proto, sizeof(proto), "%.15s%s", string(forward, "proto"),
		       is_reverse ? ", reverse" : "");
	text_table_add(table, proto);
	text_table_add(table, string(forward, "host"));
	text_table_add(table, string(forward, "guest_name"));
	text_table_add(table, string(forward, "guest"));
	text_table_add(table, string(forward, "via"));
	text_table_add(table, string(forward, "state"));
	add_count(table, forward, "connections");
	add_count(table, forward, "connections_total");
	add_bytes(table, forward, "bytes_to_guest");
	add_bytes(table, forward, "bytes_to_host");
	text_table_add(table, string(forward, "error"));
}

/* A line of headings, and one for each element of the array. */
static int print_list(const struct json *array, const char *const headings[],
		      void (*add)(struct text_table *table, const struct json *json), FILE *to)
{
	struct text_table table;
	unsigned int n_columns = 0;
	int r;

	while (headings[n_columns])
		n_columns++;
	text_table_init(&table, n_columns);
	add_all(&table, headings);
	for (size_t i = 0; i < json_length(array); i++)
		add(&table, json_element(array, i));
	r = text_table_print(&table, to);
	text_table_deinit(&table);
	return r;
}

static int print_head(const struct json *status, FILE *to)
{
	char version[NUMBER_SIZE];
	int64_t s = integer(status, "uptime_ms") / 1000;

	(void)snprintf(version, sizeof(version), "%.31s", string(status, "version"));
	/* of the server's making: as letters as the table's cells */
	for (char *c = version; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
	return fprintf(to, "netfwd %s, process %" PRId64 ", running for %" PRId64 ":%02d:%02d\n\n",
		       version, integer(status, "pid"), s / 3600, (int)(s / 60 % 60),
		       (int)(s % 60));
}

/* Only those of a shared network are told apart by their MAC. */
static bool has_leases(const struct json *guests)
{
	return json_as_string(json_member(json_element(guests, 0), "mac")) != NULL;
}

int status_text_print(const struct json *status, FILE *to)
{
	static const char *const guest_headings[] = { "GUEST",	  "LINK",    "STATE", "ADDRESSES",
						      "TO GUEST", "TO HOST", "PATH",  NULL };
	static const char *const way_headings[] = { "WAY", "GUEST", "STATE", "ERROR", NULL };
	static const char *const forward_headings[] = { "PROTO",    "HOST",    "GUEST", "PORT",
							"VIA",	    "STATE",   "OPEN",	"TOTAL",
							"TO GUEST", "TO HOST", "ERROR", NULL };
	static const char *const lease_headings[] = { "GUEST", "MAC", "ADDRESSES", "LEASE", NULL };
	const struct json *guests = json_member(status, "guests");
	int r = print_head(status, to);

	if (r >= 0)
		r = print_list(guests, guest_headings, add_guest, to);
	if (r >= 0 && has_leases(guests))
		r = fputs("\n", to);
	if (r >= 0 && has_leases(guests))
		r = print_list(guests, lease_headings, add_lease, to);
	if (r >= 0)
		r = fputs("\n", to);
	if (r >= 0)
		r = print_list(json_member(status, "ways"), way_headings, add_way, to);
	if (r >= 0)
		r = fputs("\n", to);
	if (r >= 0)
		r = print_list(json_member(status, "forwards"), forward_headings, add_forward, to);
	return r;
}
