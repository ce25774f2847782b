/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a test would print on stderr, to be looked at by it. */
#include <stddef.h>

/* 0, or -1 as cmocka's setup functions have it. */
int captured_stderr_start(void);
/* What was printed since the last call; static memory. */
const char *captured_stderr_text(void);
void captured_stderr_stop(void);
