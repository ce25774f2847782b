/* SPDX-License-Identifier: Apache-2.0 */
#include "forwarder/port_watch.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "forwarder/port_scan.h"
#include "forwarder/sock_diag.h"
#include "forwarder/trace_bell.h"
#include "netstack/base/log.h"
#include "netstack/base/loop.h"
#include "netstack/netns.h"

#define GROUP(number) (1U << ((number)-1))
#define TCP_GONE (GROUP(SKNLGRP_INET_TCP_DESTROY) | GROUP(SKNLGRP_INET6_TCP_DESTROY))
#define UDP_GONE (GROUP(SKNLGRP_INET_UDP_DESTROY) | GROUP(SKNLGRP_INET6_UDP_DESTROY))

/* A listener seldom comes alone. */
#define POLL_FAST_FOR_MS 2000
#define RETRY_MS 20
/* What begins to listen can be found only some moments after the event: a process
 * may be stopped in between. */
#define RECHECK_MS 20
/* Destroyed sockets read in one round of the loop. */
#define EVENTS_PER_ROUND 64

/* A question that found nothing new may be followed by the next after PRICE times
 * what it took: half a percent of a processor. So much may have been spent at once. */
#define PRICE 200
#define CREDIT_MS 400
#define DELAY_MAX_MS 1000
/* Between two questions: twice as long after each that found nothing new, until
 * one does or there was a pause. */
#define SPACING_MIN_MS 4
#define SPACING_MAX_MS 16
#define PAUSE_MS 100
/* With this long to wait, nothing needs to wake us meanwhile. */
#define MUTE_MS 4

/* A tracepoint that tells of one kind of socket. */
struct bell_kind {
	unsigned int kind; /* PORT_SCAN_* */
	unsigned int settle_ms;
	struct trace_bell_spec spec;
};

/* Connections that were accepted go from LISTEN (10) to another state than CLOSE
 * (7). */
static const struct bell_kind bell_kinds[] = {
	{ PORT_SCAN_TCP,
	  PORT_WATCH_SETTLE_MS,
	  { "sock/inet_sock_set_state", "newstate == 10 || (oldstate == 10 && newstate == 7)" } },
	{ PORT_SCAN_UDP, 0, { "syscalls/sys_exit_bind", "ret == 0" } },
};

#define N_KINDS 2U /* PORT_SCAN_* are 1 << kind */
#define NEVER UINT64_MAX

#define N_BELLS (sizeof(bell_kinds) / sizeof(bell_kinds[0]))

struct bell {
	struct port_watch *owner;
	const struct bell_kind *kind;
	struct trace_bell *trace; /* NULL: not to be had */
	struct watch *watch;
};

struct port_watch {
	struct loop *loop;
	port_watch_fn *changed;
	void *arg;
	struct port_scan *scan;
	struct port_range ephemeral;
	struct bell bells[N_BELLS];
	int gone_fd;
	struct watch *gone;
	uint64_t buffer[4096 / sizeof(uint64_t)]; /* for gone_fd */

	unsigned int polled;	  /* kinds without a bell */
	uint64_t due_ms[N_KINDS]; /* when to ask for it; NEVER */
	bool recheck;		  /* TCP, after the next question */
	bool is_muted;
	struct timer *timer;
	uint64_t asked_ms; /* the last time */
	unsigned int spacing_ms;
	uint64_t poll_at_ms, safety_at_ms, fast_until_ms;
	uint64_t paid_until_us; /* what was spent, at its price */
	bool has_reported;
};

static void set_ears(struct port_watch *w, bool open)
{
	w->is_muted = !open;
	for (size_t i = 0; i < N_BELLS; i++) {
		if (w->bells[i].watch)
			watch_want(w->bells[i].watch, open ? LOOP_READ : 0);
	}
	watch_want(w->gone, open ? LOOP_READ : 0);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void start_timer(struct port_watch *w)
{
	uint64_t now_ms = loop_now_ms(w->loop), at_ms = w->safety_at_ms;

	if (w->polled)
		at_ms = earlier(at_ms, w->poll_at_ms);
	for (unsigned int i = 0; i < N_KINDS; i++)
		at_ms = earlier(at_ms, w->due_ms[i]);
	timer_start(w->timer, at_ms > now_ms ? at_ms - now_ms : 0);
}

static void set_due(struct port_watch *w, unsigned int kinds, uint64_t at_ms)
{
	for (unsigned int i = 0; i < N_KINDS; i++) {
		if (kinds & 1U << i)
			w->due_ms[i] = earlier(w->due_ms[i], at_ms);
	}
}

/* --- asking -------------------------------------------------------------- */

static uint64_t spent_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* What was spent of late may put it off. */
static uint64_t affordable_at_ms(const struct port_watch *w, uint64_t at_ms)
{
	uint64_t latest_ms = loop_now_ms(w->loop) + DELAY_MAX_MS;
	uint64_t paid_ms = w->paid_until_us / 1000;

	if (at_ms < w->asked_ms + w->spacing_ms)
		at_ms = w->asked_ms + w->spacing_ms;
	if (at_ms + CREDIT_MS < paid_ms)
		at_ms = paid_ms - CREDIT_MS;
	return at_ms < latest_ms ? at_ms : latest_ms;
}

/* After an event and the question about it. */
static void recheck(struct port_watch *w, bool is_explained)
{
	if (w->recheck && !is_explained)
		set_due(w, PORT_SCAN_TCP, affordable_at_ms(w, loop_now_ms(w->loop) + RECHECK_MS));
	w->recheck = false;
}

/* The intervals are the price of what is planned. */
static int ask(struct port_watch *w, unsigned int kinds, bool has_price)
{
	uint64_t before_us = spent_us(), now_ms = loop_now_ms(w->loop);
	int r = port_scan_ask(w->scan, kinds, now_ms);

	if (r > 0 || now_ms > w->asked_ms + PAUSE_MS)
		w->spacing_ms = SPACING_MIN_MS;
	else if (w->spacing_ms < SPACING_MAX_MS)
		w->spacing_ms *= 2;
	w->asked_ms = now_ms;
	if (w->paid_until_us < now_ms * 1000)
		w->paid_until_us = now_ms * 1000;
	if (r <= 0 && has_price)
		w->paid_until_us += (spent_us() - before_us) * PRICE;
	if (kinds & PORT_SCAN_TCP)
		recheck(w, r > 0 && kinds == PORT_SCAN_TCP);
	return r;
}

static bool take_bell(struct bell *bell)
{
	if (!bell->trace || !trace_bell_take(bell->trace))
		return false;
	if (bell->kind->kind == PORT_SCAN_TCP)
		bell->owner->recheck = true;
	return true;
}

/* Of what was not listened to for a while. */
static void take_bells(struct port_watch *w)
{
	for (size_t i = 0; i < N_BELLS; i++) {
		if (take_bell(&w->bells[i]))
			set_due(w, w->bells[i].kind->kind, 0);
	}
}

/* What events ask for. */
static unsigned int due(const struct port_watch *w)
{
	uint64_t now_ms = loop_now_ms(w->loop);
	unsigned int kinds = 0;

	for (unsigned int i = 0; i < N_KINDS; i++)
		kinds |= now_ms >= w->due_ms[i] ? 1U << i : 0;
	return kinds;
}

/* What is asked for now and then anyway. */
static unsigned int planned(const struct port_watch *w)
{
	uint64_t now_ms = loop_now_ms(w->loop);

	if (now_ms >= w->safety_at_ms)
		return PORT_SCAN_ALL;
	return now_ms >= w->poll_at_ms ? w->polled : 0;
}

static void settle_due(struct port_watch *w, unsigned int kinds)
{
	for (unsigned int i = 0; i < N_KINDS; i++) {
		if (kinds & 1U << i)
			w->due_ms[i] = NEVER;
	}
}

static void plan_next(struct port_watch *w, unsigned int asked)
{
	uint64_t now_ms = loop_now_ms(w->loop);

	if (asked == PORT_SCAN_ALL)
		w->safety_at_ms = now_ms + PORT_WATCH_SAFETY_MS;
	w->poll_at_ms =
		now_ms + (now_ms < w->fast_until_ms ? PORT_WATCH_POLL_FAST_MS : PORT_WATCH_POLL_MS);
	start_timer(w);
}

static void report(struct port_watch *w)
{
	unsigned int n;
	const struct port_listener *all = port_scan_listeners(w->scan, &n);

	w->has_reported = true;
	w->changed(w->arg, all, n);
}

static void ask_now(void *arg)
{
	struct port_watch *w = arg;
	unsigned int asked_for, kinds;
	int r;

	if (w->is_muted)
		take_bells(w);
	asked_for = due(w);
	kinds = asked_for | planned(w);
	settle_due(w, kinds); /* an answer may lead to another question */
	r = ask(w, kinds, asked_for != 0);
	if (r > 0)
		w->fast_until_ms = loop_now_ms(w->loop) + POLL_FAST_FOR_MS;
	set_ears(w, true);
	plan_next(w, kinds);
	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "the guest's listeners are not known for now: %s",
			    strerror(-r));
		set_due(w, kinds, loop_now_ms(w->loop) + RETRY_MS);
		start_timer(w);
	} else if (r > 0 || !w->has_reported) {
		report(w);
	}
}

/* --- when to ask --------------------------------------------------------- */

static void ask_soon(struct port_watch *w, unsigned int kinds, unsigned int delay_ms)
{
	uint64_t now_ms = loop_now_ms(w->loop);
	uint64_t at_ms = affordable_at_ms(w, now_ms + delay_ms);

	set_due(w, kinds, at_ms);
	if (at_ms <= now_ms) {
		ask_now(w);
		return;
	}
	start_timer(w);
	if (at_ms >= now_ms + MUTE_MS)
		set_ears(w, false);
}

static void on_bell(void *arg, unsigned int events)
{
	struct bell *bell = arg;

	(void)events;
	if (take_bell(bell))
		ask_soon(bell->owner, bell->kind->kind, bell->kind->settle_ms);
}

/* What an event said. */
struct gone {
	const struct port_watch *watch;
	bool was_known;
};

static void on_gone_socket(void *arg, uint64_t cookie)
{
	struct gone *gone = arg;

	gone->was_known = gone->was_known || port_scan_knows(gone->watch->scan, cookie);
}

/* Most are of connections, or of clients. */
static void on_gone(void *arg, unsigned int events)
{
	struct port_watch *w = arg;
	struct gone gone = { .watch = w };

	(void)events;
	for (int i = 0; i < EVENTS_PER_ROUND; i++) {
		ssize_t n = recv(w->gone_fd, w->buffer, sizeof(w->buffer), 0);

		if (n < 0 && errno == ENOBUFS) /* some were lost */
			gone.was_known = true;
		if (n < 0)
			break;
		if (sock_diag_parse_gone(w->buffer, (size_t)n, on_gone_socket, &gone) < 0)
			gone.was_known = true;
	}
	if (gone.was_known)
		ask_soon(w, w->polled | PORT_SCAN_UDP, 0);
}

/* --- life ---------------------------------------------------------------- */

static int open_socket(const char *netns, uint32_t groups, struct netns_diag *out)
{
	char step[NETNS_STEP_SIZE];
	int r = netns_open_diag(netns, groups, out, step);

	if (r < 0)
		log_error("the listeners of %s%s cannot be watched: %s: %s",
			  netns ? "namespace " : "this machine", netns ? netns : "", step,
			  strerror(-r));
	return r;
}

static int open_scan(struct port_watch *w, const struct port_watch_config *config)
{
	struct port_scan_config scan = { 0 };
	struct netns_diag diag;
	int r = open_socket(config->netns, 0, &diag);

	if (r < 0)
		return r;
	scan.fd = diag.fd;
	w->ephemeral = (struct port_range){ diag.ephemeral_first, diag.ephemeral_last };
	scan.clients = w->ephemeral;
	scan.client_age_ms = config->client_age_ms;
	r = port_scan_new(&scan, &w->scan);
	if (r < 0)
		close(diag.fd);
	return r;
}

/* Clients come and go; the kernel need not wake us for them. A filter of
 * socket(7), which sees struct nlmsghdr and struct inet_diag_msg. */
static void leave_out_clients(const struct port_watch *w)
{
	const unsigned int port_offset =
		NLMSG_HDRLEN + offsetof(struct inet_diag_msg, id.idiag_sport);
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, port_offset),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, w->ephemeral.first, 0, 1),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, w->ephemeral.last, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };

	if (w->polled & PORT_SCAN_TCP) /* then these events are of TCP, too */
		return;
	/* without it there are more wake-ups, and nothing else is different */
	if (setsockopt(w->gone_fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0)
		log_debug("closed UDP clients wake us: %s", strerror(errno));
}

static int open_gone(struct port_watch *w, const struct port_watch_config *config)
{
	uint32_t groups = UDP_GONE | (w->polled & PORT_SCAN_TCP ? TCP_GONE : 0);
	struct netns_diag diag;
	int r = open_socket(config->netns, groups, &diag);

	if (r < 0)
		return r;
	w->gone_fd = diag.fd;
	if (config->client_age_ms > 0)
		leave_out_clients(w);
	return watch_new(w->loop, w->gone_fd, on_gone, w, &w->gone);
}

/* -errno only of the loop: without the tracepoint it works, more slowly. */
static int open_bell(struct port_watch *w, struct bell *bell, const char *netns)
{
	const struct bell_kind *kind = bell->kind;
	const char *step;
	int r = trace_bell_new(&kind->spec, &bell->trace, &step);

	if (r == 0)
		return watch_new(w->loop, trace_bell_fd(bell->trace), on_bell, bell, &bell->watch);
	if (w->polled == 0) /* Somebody else's namespace is mostly watched without privilege. */
		log_at(netns ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
		       "no events of %s, so new listeners are seen only every %d ms: %s: %s",
		       kind->spec.event, PORT_WATCH_POLL_MS, step, strerror(-r));
	w->polled |= kind->kind;
	return 0;
}

static int open_bells(struct port_watch *w, const struct port_watch_config *config)
{
	if (config->without_tracing) {
		w->polled = PORT_SCAN_ALL;
		return 0;
	}
	for (size_t i = 0; i < N_BELLS; i++) {
		struct bell *bell = &w->bells[i];
		int r;

		bell->owner = w;
		bell->kind = &bell_kinds[i];
		r = open_bell(w, bell, config->netns);
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_up(struct port_watch *w, const struct port_watch_config *config)
{
	int r = open_scan(w, config);

	if (r == 0)
		r = open_bells(w, config);
	if (r == 0)
		r = open_gone(w, config);
	if (r == 0)
		r = timer_new(w->loop, ask_now, w, &w->timer);
	return r;
}

int port_watch_new(struct loop *loop, const struct port_watch_config *config,
		   struct port_watch **out)
{
	struct port_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->loop = loop;
	w->changed = config->changed;
	w->arg = config->arg;
	w->gone_fd = -1;
	w->spacing_ms = SPACING_MIN_MS;
	w->due_ms[0] = w->due_ms[1] = NEVER;
	r = set_up(w, config);
	if (r < 0) {
		port_watch_free(w);
		return r;
	}
	set_ears(w, true);
	start_timer(w); /* at once: safety_at_ms is 0 */
	*out = w;
	return 0;
}

void port_watch_free(struct port_watch *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < N_BELLS; i++) {
		watch_free(w->bells[i].watch);
		trace_bell_free(w->bells[i].trace);
	}
	watch_free(w->gone);
	timer_free(w->timer);
	port_scan_free(w->scan);
	if (w->gone_fd >= 0)
		close(w->gone_fd);
	free(w);
}

void port_watch_set_client_age(struct port_watch *w, unsigned int age_ms)
{
	const int none = 0;

	port_scan_set_client_age(w->scan, age_ms);
	if (age_ms > 0)
		leave_out_clients(w);
	else /* an error says that there was no filter */
		(void)setsockopt(w->gone_fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none));
}

struct port_range port_watch_ephemeral(const struct port_watch *w)
{
	return w->ephemeral;
}
