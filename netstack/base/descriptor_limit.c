/* SPDX-License-Identifier: Apache-2.0 */
#include "netstack/base/descriptor_limit.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "netstack/base/log.h"

void descriptor_limit_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_debug("the limit of open files stays as it is: %s", strerror(errno));
}
