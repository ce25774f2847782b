/* SPDX-License-Identifier: Apache-2.0 */
/* A server's key, and a file that may hold it. */
#include <string.h>

#include "forwarder/ssh/known_hosts.h"
#include "tests/fuzz/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever else is in the file, a line that was added is found. */
static void check_added(const char *text, const char *line)
{
	size_t n = strlen(text);
	char *longer = malloc(n + strlen(line) + 2);

	check(longer != NULL);
	memcpy(longer, text, n);
	longer[n] = '\n';
	memcpy(longer + n + 1, line, strlen(line) + 1);
	check(known_hosts_search(longer, line) == KNOWN_HOST_SAME);
	free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n_key = size > 0 ? data[0] : 0;
	const struct known_host_key key = { data + 1, n_key };
	char *text, *line;

	if (size < 1 || n_key > size - 1)
		return 0;
	line = known_host_line("guest", &key);
	if (!line)
		return 0;
	check(strchr(line, '\n') == line + strlen(line) - 1);
	text = malloc(size - n_key);
	check(text != NULL);
	memcpy(text, data + 1 + n_key, size - 1 - n_key);
	text[size - 1 - n_key] = '\0';
	(void)known_hosts_search(text, line);
	check_added(text, line);
	free(text);
	free(line);
	return 0;
}
