/* SPDX-License-Identifier: Apache-2.0 */
/* Any text is either refused with an error text, or read into a spec that keeps
 * its promises. */
#include <stdlib.h>
#include <string.h>

#include "forwarder/forward_spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[FORWARD_SPEC_ERROR_SIZE] = "";
	char *text = malloc(size + 1);
	struct forward_spec spec;
	uint16_t port;

	check(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	if (forward_spec_parse(text, &spec, error) == 0) {
		check(spec.n_ports >= 1);
		check(spec.host.port >= 1 && spec.host.port + spec.n_ports <= 65536);
		check(spec.guest.port >= 1 && spec.guest.port + spec.n_ports <= 65536);
		check(forward_spec_overlap(&spec, &spec, &port) && port == spec.host.port);
	} else {
		check(strlen(error) > 0 && strlen(error) < sizeof(error));
	}
	free(text);
	return 0;
}
