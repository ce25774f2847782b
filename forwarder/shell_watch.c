/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/shell_watch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "forwarder/port_list.h"
#include "forwarder/proc_net.h"
#include "forwarder/shell_job.h"
#include "netstack/base/loop.h"

/* First how it reads two bytes, 1 and 0: as 1 or as 256. Then again and again what
 * listens, and a dot. It ends when nobody takes what it says. */
#define COMMAND                                                   \
	"exec sh -c 'printf \"\\001\\000\" | od -An -tu2; while " \
	"cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep \" 0A \"; echo .; do sleep 1; done'"
#define END_OF_REPORT "."
#define BIG_ENDIAN_WORD "256"
#define PAUSE_MS 5000

struct shell_watch {
	struct shell_watch_setup setup;
	struct timer *timer;
	struct shell_job *job; /* NULL: waits for the timer */
	bool knows_order;
	enum proc_net_order order;

	struct port_listener *all, *last; /* of this report, and of the one before */
	unsigned int n, n_last;
	bool has_last;
};

static void end_report(struct shell_watch *w)
{
	struct port_listener *all = w->all;
	unsigned int n = port_list_sort(all, w->n);
	const struct port_list a = { all, n }, b = { w->last, w->n_last };
	bool is_same = w->has_last && port_list_equal(&a, &b);

	w->all = w->last;
	w->last = all;
	w->n_last = n;
	w->n = 0;
	w->has_last = true;
	if (!is_same)
		w->setup.changed(w->setup.arg, all, n);
}

static void on_line(void *arg, const char *line)
{
	struct shell_watch *w = arg;

	if (!w->knows_order) {
		w->order = strstr(line, BIG_ENDIAN_WORD) ? PROC_NET_BIG_ENDIAN :
							   PROC_NET_LITTLE_ENDIAN;
		w->knows_order = true;
	} else if (strcmp(line, END_OF_REPORT) == 0) {
		end_report(w);
	} else if (w->n < SHELL_WATCH_MAX && proc_net_parse(line, w->order, &w->all[w->n])) {
		w->n++;
	}
}

/* With the connection, most likely. */
static void on_done(void *arg, int error)
{
	struct shell_watch *w = arg;

	(void)error;
	w->job = NULL;
	timer_start(w->timer, PAUSE_MS);
}

static void on_timer(void *arg)
{
	struct shell_watch *w = arg;
	const struct shell_job_setup setup = {
		.run = w->setup.run,
		.run_arg = w->setup.run_arg,
		.command = COMMAND,
		.line = on_line,
		.done = on_done,
		.arg = w,
	};

	w->knows_order = false;
	w->n = 0;
	if (shell_job_start(&setup, &w->job) < 0)
		timer_start(w->timer, PAUSE_MS);
}

int shell_watch_new(struct loop *loop, const struct shell_watch_setup *setup,
		    struct shell_watch **out)
{
	struct shell_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->setup = *setup;
	w->all = calloc(SHELL_WATCH_MAX, sizeof(*w->all));
	w->last = calloc(SHELL_WATCH_MAX, sizeof(*w->last));
	if (!w->all || !w->last || timer_new(loop, on_timer, w, &w->timer) < 0) {
		shell_watch_free(w);
		return -ENOMEM;
	}
	timer_start(w->timer, 0);
	*out = w;
	return 0;
}

void shell_watch_free(struct shell_watch *w)
{
	if (!w)
		return;
	shell_job_cancel(w->job);
	timer_free(w->timer);
	free(w->all);
	free(w->last);
	free(w);
}
