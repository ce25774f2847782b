/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/control_decode.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char error[CONTROL_ERROR_SIZE];

static int forward(const char *body, struct control_forward *out)
{
	error[0] = '\0';
	return control_decode_forward(body, strlen(body), out, error);
}

static int report(const char *body, struct control_report *out)
{
	error[0] = '\0';
	return control_decode_report(body, strlen(body), out, error);
}

static void a_forward_is_read_as_the_option_is(void **state)
{
	struct control_forward f;
	char text[ADDR_TEXT_SIZE];

	(void)state;
	assert_int_equal(forward("{\"proto\":\"udp\",\"host\":\"[::1]:5353\",\"guest\":\"53\","
				 "\"via\":\"direct\"}",
				 &f),
			 0);
	assert_int_equal(f.spec.proto, FORWARD_UDP);
	assert_string_equal(endpoint_format(&f.spec.host, text), "[::1]:5353");
	assert_int_equal(f.spec.guest.port, 53);
	assert_int_equal(f.via, RULE_VIA_DIRECT);

	assert_int_equal(forward("{\"proto\":\"tcp\",\"host\":\"9000-9010\","
				 "\"guest\":\"192.168.5.15:9000-9010\"}",
				 &f),
			 0);
	assert_int_equal(f.spec.n_ports, 11);
	assert_int_equal(f.via, RULE_VIA_DEFAULT);
}

struct bad_case {
	const char *body, *says;
};

static void a_bad_forward_is_refused_with_the_member(void **state)
{
	static const struct bad_case cases[] = {
		{ "", "not JSON" },
		{ "[]", "no JSON object" },
		{ "{\"proto\":\"TCP\",\"host\":\"1\",\"guest\":\"1\"}", "\"proto\"" },
		{ "{\"proto\":\"tcp\\n\",\"host\":\"1\",\"guest\":\"1\"}", "\"proto\"" },
		{ "{\"host\":\"1\",\"guest\":\"1\"}", "\"proto\"" },
		{ "{\"proto\":\"tcp\",\"guest\":\"1\"}", "\"host\"" },
		{ "{\"proto\":\"tcp\",\"host\":80,\"guest\":\"1\"}", "\"host\"" },
		{ "{\"proto\":\"tcp\",\"host\":\"1\",\"guest\":\"\"}", "\"guest\"" },
		{ "{\"proto\":\"tcp\",\"host\":\"80:10.0.0.1\",\"guest\":\"1\"}", "80:10.0.0.1" },
		{ "{\"proto\":\"tcp\",\"host\":\"127.0.0.1:80:1\",\"guest\":\"1\"}", "host" },
		{ "{\"proto\":\"tcp\",\"host\":\"80\",\"guest\":\"65536\"}", "65536" },
		{ "{\"proto\":\"tcp\",\"host\":\"0\",\"guest\":\"1\"}", "tcp:0:1" },
		{ "{\"proto\":\"tcp\",\"host\":\"80\",\"guest\":\"80\",\"via\":\"SSH\"}",
		  "\"via\"" },
		{ "{\"proto\":\"tcp\",\"host\":\"80\",\"guest\":\"80\",\"via\":null}", "\"via\"" },
		{ "{\"proto\":\"tcp\",\"host\":\"80\",\"guest\":\"80\",\"port\":1}", "\"port\"" },
	};
	struct control_forward f;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(forward(cases[i].body, &f), -EINVAL);
		if (!strstr(error, cases[i].says))
			fail_msg("%s: \"%s\" does not say %s", cases[i].body, error, cases[i].says);
	}
}

static void a_report_has_both_lists(void **state)
{
	struct control_report r;
	char text[ADDR_TEXT_SIZE];

	(void)state;
	assert_int_equal(
		report("{\"added\":[{\"protocol\":\"tcp\",\"ip\":\"::\",\"port\":80},"
		       "{\"protocol\":\"udp\",\"ip\":\"0.0.0.0\",\"port\":65535}],"
		       "\"removed\":[{\"protocol\":\"tcp\",\"ip\":\"127.0.0.1\",\"port\":1}]}",
		       &r),
		0);
	assert_int_equal(r.n_added, 2);
	assert_int_equal(r.n_removed, 1);
	assert_string_equal(endpoint_format(&r.listeners[0].guest, text), "[::]:80");
	assert_int_equal(r.listeners[1].proto, FORWARD_UDP);
	assert_int_equal(r.listeners[1].guest.port, 65535);
	assert_string_equal(endpoint_format(&r.listeners[2].guest, text), "127.0.0.1:1");
	control_report_deinit(&r);

	assert_int_equal(report("{}", &r), 0);
	assert_int_equal(r.n_added + r.n_removed, 0);
	control_report_deinit(&r);
}

static void a_bad_report_is_refused_with_the_entry(void **state)
{
#define GOOD "{\"protocol\":\"tcp\",\"ip\":\"::\",\"port\":80}"
	static const struct bad_case cases[] = {
		{ "{\"added\":{}}", "must be arrays" },
		{ "{\"removed\":null}", "must be arrays" },
		{ "{\"add\":[]}", "\"add\"" },
		{ "{\"added\":[" GOOD ",5]}", "added[1]: is no object" },
		{ "{\"removed\":[{\"protocol\":\"tcp6\",\"ip\":\"::\",\"port\":80}]}",
		  "removed[0].protocol" },
		{ "{\"added\":[{\"protocol\":\"Tcp\",\"ip\":\"::\",\"port\":80}]}",
		  "added[0].protocol" },
		{ "{\"added\":[{\"protocol\":\"tcp\\u0007\",\"ip\":\"::\",\"port\":80}]}",
		  "added[0].protocol" },
		{ "{\"added\":[" GOOD "," GOOD ",{\"protocol\":\"tcp\",\"ip\":\"localhost\","
		  "\"port\":80}]}",
		  "added[2].ip" },
		{ "{\"added\":[{\"protocol\":\"tcp\",\"ip\":\"::\\u001b[2J\",\"port\":80}]}",
		  "added[0].ip" },
		{ "{\"added\":[{\"protocol\":\"tcp\",\"ip\":\"1.2.3.4 \",\"port\":80}]}",
		  "added[0].ip" },
		{ "{\"added\":[{\"protocol\":\"tcp\",\"ip\":\"1.2.3\",\"port\":80}]}",
		  "added[0].ip" },
		{ "{\"added\":[{\"protocol\":\"tcp\",\"port\":80}]}", "added[0].ip" },
		{ "{\"added\":[{\"protocol\":\"tcp\",\"ip\":\"::\",\"port\":0}]}",
		  "added[0].port" },
		{ "{\"added\":[{\"protocol\":\"tcp\",\"ip\":\"::\",\"port\":65536}]}",
		  "added[0].port" },
		{ "{\"added\":[{\"protocol\":\"tcp\",\"ip\":\"::\",\"port\":-1}]}",
		  "added[0].port" },
		{ "{\"added\":[{\"protocol\":\"tcp\",\"ip\":\"::\",\"port\":80.0}]}",
		  "added[0].port" },
		{ "{\"added\":[{\"protocol\":\"tcp\",\"ip\":\"::\",\"port\":\"80\"}]}",
		  "added[0].port" },
		{ "{\"added\":[{\"protocol\":\"tcp\",\"ip\":\"::\",\"port\":80,\"x\":1}]}",
		  "added[0]: unknown member \"x\"" },
	};
	struct control_report r;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(report(cases[i].body, &r), -EINVAL);
		assert_null(r.listeners);
		if (!strstr(error, cases[i].says))
			fail_msg("%s: \"%s\" does not say %s", cases[i].body, error, cases[i].says);
	}
}

/* {"added":[{...} times n]}, free() it. */
static char *report_of(size_t n)
{
	char *text = malloc(64 + n * 64), *at = text;

	assert_non_null(text);
	at += sprintf(at, "{\"added\":[");
	for (size_t i = 0; i < n; i++)
		at += sprintf(at, "%s{\"protocol\":\"tcp\",\"ip\":\"10.1.%zu.%zu\",\"port\":%zu}",
			      i ? "," : "", i / 65535 % 256, i / 256 % 256, i % 65535 + 1);
	(void)sprintf(at, "]}");
	return text;
}

static void the_largest_report_is_bounded(void **state)
{
	char *most = report_of(CONTROL_LISTENERS_MAX);
	char *more = report_of(CONTROL_LISTENERS_MAX + 1);
	struct control_report r;

	(void)state;
	assert_true(strlen(most) < CONTROL_REPORT_SIZE_MAX);
	assert_int_equal(report(most, &r), 0);
	assert_int_equal(r.n_added, CONTROL_LISTENERS_MAX);
	control_report_deinit(&r);
	assert_int_equal(report(more, &r), -E2BIG);
	assert_non_null(strstr(error, "100001"));
	free(most);
	free(more);
}

static void the_ways_that_may_be_asked_for(void **state)
{
	static const char *const bad[] = { "none", "", "SSH", "ssh ", "default" };
	enum rule_via via;

	(void)state;
	assert_int_equal(control_via_parse("ssh", &via), 0);
	assert_int_equal(via, RULE_VIA_SSH);
	assert_int_equal(control_via_parse("grpc", &via), 0);
	assert_int_equal(via, RULE_VIA_GRPC);
	assert_int_equal(control_via_parse("netns", &via), 0);
	assert_int_equal(via, RULE_VIA_NETNS);
	assert_int_equal(control_via_parse("auto", &via), 0);
	assert_int_equal(via, RULE_VIA_AUTO);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(control_via_parse(bad[i], &via), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_forward_is_read_as_the_option_is),
		cmocka_unit_test(a_bad_forward_is_refused_with_the_member),
		cmocka_unit_test(a_report_has_both_lists),
		cmocka_unit_test(a_bad_report_is_refused_with_the_entry),
		cmocka_unit_test(the_largest_report_is_bounded),
		cmocka_unit_test(the_ways_that_may_be_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
