/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/agent_steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(struct config_agent agent, const char *const *parts)
{
	const struct config_ssh ssh = { .host = (char[]){ "box" }, .port = 2200 };
	const struct agent_steps steps = { "/opt/a b/netfwd-agent", "my.yaml", &agent, &ssh };
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	assert_true(agent_steps_print(&steps, to) >= 0);
	(void)fclose(to);
	for (; *parts; parts++) {
		if (!strstr(text, *parts))
			fail_msg("\"%s\" is missing in:\n%s", *parts, text);
	}
	free(text);
}

static void each_transport_has_its_steps(void **state)
{
	(void)state;
	check((struct config_agent){ .transport = CONFIG_AGENT_SERIAL },
	      (const char *[]){ "scp -P 2200 '/opt/a b/netfwd-agent' root@box:/usr/local/bin/",
				"netfwd-agent --serial io.netfwd.agent.0\n", "\nEND\n",
				"netfwd qemu -v --config my.yaml -- qemu", NULL });
	check((struct config_agent){ .transport = CONFIG_AGENT_VSOCK },
	      (const char *[]){ "--vsock=2222\n", "netfwd -v --config my.yaml\n", NULL });
	check((struct config_agent){ .transport = CONFIG_AGENT_TCP,
				     .port = 99,
				     .token_file = (char[]){ "/my/token" } },
	      (const char *[]){ "scp -P 2200 /my/token root@box:/etc/netfwd-token\n",
				"--tcp 0.0.0.0:99 --token-file /etc/netfwd-token\n", NULL });
	check((struct config_agent){ .transport = CONFIG_AGENT_UNIX,
				     .path = (char[]){ "/run/my sock" } },
	      (const char *[]){ "'/opt/a b/netfwd-agent' --unix '/run/my sock'\n", NULL });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_transport_has_its_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
