/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* struct control_ops that note what was asked for, and answer as they are told. */
#include "forwarder/control.h"

struct fake_control {
	char asked[256];   /* the last operation that changes something */
	int result;	   /* of the next ones */
	const char *error; /* likewise; NULL: they give no text */
};

struct control_ops fake_control_ops(struct fake_control *fake);
