/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies that the control socket takes, and the responses that its client
 * does. The first byte chooses. */
#include <stdlib.h>
#include <string.h>

#include "forwarder/control_decode.h"
#include "forwarder/http_response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_error(const char *error)
{
	check(strlen(error) > 0 && strlen(error) < CONTROL_ERROR_SIZE);
}

static void fuzz_forward(const char *body, size_t len)
{
	char error[CONTROL_ERROR_SIZE] = "";
	struct control_forward f;

	if (control_decode_forward(body, len, &f, error) < 0) {
		check_error(error);
		return;
	}
	check(f.spec.n_ports >= 1);
	check(f.spec.host.port >= 1 && f.spec.host.port + f.spec.n_ports <= 65536);
	check(f.spec.guest.port >= 1 && f.spec.guest.port + f.spec.n_ports <= 65536);
	check(f.via == RULE_VIA_DEFAULT || rule_via_name(f.via) != NULL);
}

static void fuzz_report(const char *body, size_t len)
{
	char error[CONTROL_ERROR_SIZE] = "";
	struct control_report r;

	if (control_decode_report(body, len, &r, error) < 0) {
		check_error(error);
		check(!r.listeners && r.n_added == 0 && r.n_removed == 0);
		return;
	}
	check(r.n_added + r.n_removed <= CONTROL_LISTENERS_MAX);
	for (size_t i = 0; i < r.n_added + r.n_removed; i++) {
		check(r.listeners[i].guest.port >= 1);
		check(r.listeners[i].proto == FORWARD_TCP || r.listeners[i].proto == FORWARD_UDP);
	}
	control_report_deinit(&r);
}

struct seen {
	const struct http_response *response;
	size_t len;
	uint32_t sum;
};

static void on_body(void *arg, const char *data, size_t len)
{
	struct seen *seen = arg;

	check(len > 0 && seen->response->status >= 200 && seen->response->status <= 599);
	seen->len += len;
	for (size_t i = 0; i < len; i++)
		seen->sum = seen->sum * 31 + (uint8_t)data[i];
}

/* However it is cut, the response is the same. */
static void fuzz_response(const char *text, size_t len)
{
	struct http_response whole = { .on_body = on_body }, cut = { .on_body = on_body };
	struct seen whole_seen = { .response = &whole }, cut_seen = { .response = &cut };
	int whole_result, cut_result = 0;

	whole.arg = &whole_seen;
	cut.arg = &cut_seen;
	whole_result = http_response_feed(&whole, text, len);
	for (size_t i = 0; i < len && cut_result == 0; i++)
		cut_result = http_response_feed(&cut, text + i, 1);
	check(whole_result == cut_result);
	check(whole_seen.len == cut_seen.len && whole_seen.sum == cut_seen.sum);
	check(whole_seen.len <= len);
	check(http_response_is_complete(&whole) == http_response_is_complete(&cut));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy; /* of its own size: reading beyond it is seen */

	if (size == 0)
		return 0;
	copy = malloc(size);
	check(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	if (data[0] % 3 == 0)
		fuzz_forward(copy, size - 1);
	else if (data[0] % 3 == 1)
		fuzz_report(copy, size - 1);
	else
		fuzz_response(copy, size - 1);
	free(copy);
	return 0;
}
