/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sweep: finds what is overdue or has expired while it is pending.
 *
 * An opening puts its slot into a queue, unless the slot is in one from before. A queue is many lists, one for each span of time
 * and group of CPUs; the links lie in the slots, so that it never overflows. A span that ended a timeout ago holds what may be
 * overdue: the sweep takes its lists as a whole, looks at each slot, and queues those again that were opened later. So it
 * never looks at what is not due, and whoever opens never waits.
 *
 * Beside that, all sets are looked at in turn, slowly, for `expire` and for the rare opening that could not be queued.
 *
 * Included by generated programs after RULES, control and counters, which then define look().
 */
#ifndef LTRULES_SWEEP_H
#define LTRULES_SWEEP_H

/* Spans of a queue; older and younger ones share a list, and what is not due yet is queued again. */
#define SPANS 64
/* Lists of a span: each CPU has one of its own, or shares it with few others. */
#define LANES 16
/* The end of a list; 0 says that a slot is in none. */
#define LAST (~0ULL)
/* How often an opening tries to get into a list that others get into at the same time. */
#ifndef TRIES	/* tests let it fail */
#define TRIES 8
#endif
/* What one run of the sweep looks at, for each rule: in the interrupt of a timer, others wait. */
#define MOST_VISITS 1024
#define MOST_SCANS 512
/* ns until the next run if there was more to do, and for a timer that found another one at work. */
#define SOON 20000
/* Timers: another CPU's takes over when a busy real-time task starves the one that sweeps. */
#define TIMERS 4

/* The lists hold numbers of slots, from 1. The rest belongs to the sweep, of which one runs at a time. */
struct queue {
	u64 head[SPANS][LANES];
	u64 shift;	/* that `head` was filled by */
	u64 span;	/* the next one to look at, and its next list */
	u64 lane;
	u64 rest;	/* slots taken from a list, not looked at yet */
	u64 place;	/* the next set to look at in turn, and when that turn began */
	u64 began;
	u64 rescan;	/* something was not queued: look at all sets soon */
	u64 fast;	/* this turn is such a one */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RULES);
	__type(key, u32);
	__type(value, struct queue);
} queues SEC(".maps");

enum { BEGIN, QUEUE, SCAN };

/* Where the run of a timer's sweep stands. Kept in a map: the verifier would follow what it knows of a variable round after round. */
struct walk {
	u64 now;
	u64 end;	/* the first span that is not over */
	u64 rule;
	u64 stage;
	u64 visits;	/* left */
	u64 scans;
	u64 more;	/* to do, soon */
};

/* What user space may read of the sweep: runs of timers, those that swept, what they looked at and how long that took. */
struct sweeping {
	u64 wakes;
	u64 sweeps;
	u64 visits;
	u64 ns;
	u64 pending[RULES];	/* as user space has last asked for it */
	u64 busy;
	u64 last;	/* when a timer last swept */
	struct walk walk;
};

struct sweeping sweeping;

/*
 * Look at one slot of a rule's set, taken from a list: return the next one in the list. Or, with WAYS, at all slots of the set:
 * return how many are pending.
 */
static u64 look(u32 rule, u32 place, u32 way, u64 now);

/*
 * The time by which a sweep judges what is pending. An event may have read the clock and been interrupted on the way to the
 * measurement that it ends: it has `grace` to come there. In the end, when no event is on its way, all are judged by that time.
 */
static __always_inline u64 judged_time(u64 now)
{
	u64 ended = READ_ONCE(control.ended);

	return ended ? ended : now - READ_ONCE(control.grace);
}

static __always_inline u64 noticed_time(u64 judged)
{
	return READ_ONCE(control.ended) ? judged : judged + READ_ONCE(control.grace);
}

/* Put a slot into the queue by the time when it was opened. Return whether it is in one. */
static __noinline bool enqueue(u32 rule, u64 *next, u64 slot, u64 opened)
{
	struct queue *queue = bpf_map_lookup_elem(&queues, &rule);
	u32 lane = bpf_get_smp_processor_id() & (LANES - 1);

	if (!queue || rule >= RULES)
		return false;
	u64 span = opened >> (READ_ONCE(control.pace[rule].shift) & 63) & (SPANS - 1);
	u64 *head = &queue->head[span][lane];

	/* Whoever makes the link non-zero puts the slot into a list: only one does. */
	if (swap_if(next, 0, LAST))
		return true;
	for (u32 i = 0; i < TRIES; i++) {
		u64 first = READ_ONCE(*head);

		WRITE_ONCE(*next, first ? first : LAST);
		if (swap_if(head, first, slot) == first)
			return true;
	}
	publish(next, 0);
	WRITE_ONCE(queue->rescan, 1);
	return false;
}

static __always_inline void begin(struct walk *walk, struct queue *queue, struct pace *pace)
{
	u64 timeout = READ_ONCE(pace->timeout), shift = READ_ONCE(pace->shift) & 63;

	walk->visits = MOST_VISITS;
	walk->scans = MOST_SCANS;
	walk->stage = timeout ? QUEUE : SCAN;
	walk->end = walk->now > timeout ? (walk->now - timeout) >> shift : 0;
	/* For the first time, after another timeout was set, or a long sleep: all lists. */
	if (queue->shift != shift || walk->end - queue->span > SPANS) {
		queue->span = walk->end - SPANS;
		queue->lane = 0;
	}
	queue->shift = shift;
}

/* Look at the next slot of the list at hand, or find the next list that has any. */
static __always_inline void visit(struct walk *walk, struct queue *queue)
{
	u64 slot = queue->rest;

	if (slot) {
		if (!walk->visits) {
			walk->more = 1;
			walk->stage = SCAN;
			return;
		}
		walk->visits--;
		sweeping.visits++;
		u64 next = look(walk->rule, (slot - 1) / WAYS, (slot - 1) % WAYS, walk->now);

		queue->rest = next == LAST ? 0 : next;
		return;
	}
	if (queue->span == walk->end) {
		walk->stage = SCAN;
		return;
	}
	u64 *heads = queue->head[queue->span & (SPANS - 1)];
	u64 from = queue->lane;

	for (u32 lane = 0; lane < LANES; lane++) {
		if (lane < from || !READ_ONCE(heads[lane]))
			continue;
		queue->rest = exchange(&heads[lane], 0);
		queue->lane = lane + 1;
		return;
	}
	queue->span++;
	queue->lane = 0;
}

/* Look at the next set in turn, if its time has come. Tell whether it had. */
static __always_inline bool scan(struct walk *walk, struct queue *queue, struct pace *pace)
{
	u64 sets = READ_ONCE(pace->sets), each = READ_ONCE(pace->scan_ns), due;

	if (!each)
		return false;
	if (queue->rescan && !queue->place) {
		WRITE_ONCE(queue->rescan, 0);
		queue->fast = 1;
	}
	due = queue->fast || queue->rescan ? sets : (walk->now - queue->began) / each;
	if (queue->place >= due)
		return false;
	if (!walk->scans) {
		walk->more |= due == sets;
		return false;
	}
	walk->scans--;
	look(walk->rule, queue->place, WAYS, walk->now);
	if (++queue->place >= sets) {
		queue->place = queue->fast = 0;
		queue->began = walk->now;
		return false;
	}
	return true;
}

static long step(u32 i, void *context)
{
	struct walk *walk = &sweeping.walk;
	u32 rule = walk->rule;
	struct queue *queue = bpf_map_lookup_elem(&queues, &rule);

	if (!queue || rule >= RULES)
		return 1;
	struct pace *pace = &control.pace[rule];

	if (walk->stage == BEGIN)
		begin(walk, queue, pace);
	else if (walk->stage == QUEUE)
		visit(walk, queue);
	else if (!scan(walk, queue, pace)) {
		walk->rule++;
		walk->stage = BEGIN;
	}
	return 0;
}

struct bpf_timer {
	u64 opaque[2];
} __attribute__((aligned(8)));

struct sweeper {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TIMERS);
	__type(key, u32);
	__type(value, struct sweeper);
} sweepers SEC(".maps");

static int on_timer(void *map, u32 *index, struct sweeper *own)
{
	u64 interval = READ_ONCE(control.interval), now = bpf_ktime_get_ns(), last = READ_ONCE(sweeping.last);
	u64 wait = interval;

	if (!interval)
		return 0;
	add(&sweeping.wakes, 1);
	if (now < last + interval) {
		/* Another timer is at work: come back if it does not. */
		wait = last + 2 * interval + *index * SOON - now;
	} else if (!swap_if(&sweeping.busy, 0, 1)) {
		WRITE_ONCE(sweeping.last, now);
		sweeping.walk.now = judged_time(now);
		sweeping.walk.rule = sweeping.walk.stage = sweeping.walk.more = 0;
		bpf_loop(RULES * (SPANS * (LANES + 1) + MOST_VISITS + MOST_SCANS + 4), step, 0, 0);
		sweeping.sweeps++;
		sweeping.ns += bpf_ktime_get_ns() - now;
		publish(&sweeping.busy, 0);
		if (sweeping.walk.more && wait > SOON)
			wait = SOON;
	}
	bpf_timer_start(&own->timer, wait, 0);
	return 0;
}

/* Run by user space on each of some CPUs: starts the timer that stays with it, or wakes it. */
SEC("syscall")
int arm(void *ctx)
{
	u32 index = bpf_get_smp_processor_id() % TIMERS;
	struct sweeper *sweeper = bpf_map_lookup_elem(&sweepers, &index);

	if (!sweeper)
		return 1;
	bpf_timer_init(&sweeper->timer, &sweepers, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&sweeper->timer, on_timer);
	return bpf_timer_start(&sweeper->timer, 0, 0);
}

#endif
