/*
 * The laboratory guest's only program. It answers on TCP port 7000, one command a line and one JSON line back, while it
 * keeps writing records to the disk (records.h). Each job has a thread of its own: no client stalls the writer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/input.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include "records.h"

enum { PORT = 7000 };

static struct disk root = { .path = "/dev/vda", .start = 64 * MIB, .on = true, .rate = 100 };
static struct disk volume = { .path = "/dev/vdb", .start = 1 * MIB, .on = false, .rate = 100 };
static atomic_ullong memory_mib, memory_rate, memory_done_mib, disk_rate, disk_done_mib;

/* Loads */

static void *memory_load(void *unused)
{
	uint64_t mapped_mib = 0, page = 0, round = 0;
	char *region = NULL;

	for (;; sleep_ns(TICK_NS)) {
		uint64_t wanted = memory_mib, pages = memory_rate * (MIB / PAGE) * TICK_NS / 1000000000ULL;

		if (wanted != mapped_mib) {
			if (region)
				munmap(region, mapped_mib * MIB);
			region = wanted ? mmap(NULL, wanted * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : NULL;
			region = region == MAP_FAILED ? NULL : region;
			mapped_mib = wanted;
			page = 0;
		}
		for (uint64_t i = 0; region && i < pages; i++) {
			*(volatile uint64_t *)(region + page * PAGE) = ++round;
			page = (page + 1) % (mapped_mib * MIB / PAGE);
		}
		memory_done_mib = round * PAGE / MIB;
	}
	return unused;
}

static void fill_random(uint64_t *words, size_t count, uint64_t *seed)
{
	for (size_t i = 0; i < count; i++) {
		*seed ^= *seed << 13;
		*seed ^= *seed >> 7;
		*seed ^= *seed << 17;
		words[i] = *seed;
	}
}

static void *disk_load(void *unused)
{
	uint64_t seed = 88172645463325252ULL, position = 0, due = 0;
	uint64_t *block = aligned_buffer(MIB);
	int fd = open(root.path, O_RDWR | O_DIRECT);
	uint64_t size = fd < 0 ? 0 : disk_size(fd), start = scratch_start(size);

	for (;;) {
		uint64_t rate = disk_rate, now = now_ns();

		if (!rate || start + MIB > size) {
			sleep_ns(TICK_NS);
			due = now_ns();
			continue;
		}
		fill_random(block, MIB / sizeof(*block), &seed);
		if (start + position + MIB > size)
			position = 0;
		if (pwrite(fd, block, MIB, start + position) == (ssize_t)MIB)
			disk_done_mib++;
		position += MIB;
		due += 1000000000ULL / rate;
		now = now_ns();
		if (due > now)
			sleep_ns(due - now);
		else if (now - due > 1000000000ULL)
			due = now;
	}
	return unused;
}

/* Power */

static void power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
}

static void *power_button(void *unused)
{
	struct pollfd events[8];
	int count = 0;

	for (int i = 0; i < 8; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/dev/input/event%d", i);
		if ((events[count].fd = open(path, O_RDONLY)) >= 0)
			events[count++].events = POLLIN;
	}
	while (count && poll(events, count, -1) > 0) {
		struct input_event e;

		for (int i = 0; i < count; i++)
			if (events[i].revents & POLLIN && read(events[i].fd, &e, sizeof(e)) == sizeof(e)
			    && e.type == EV_KEY && e.code == KEY_POWER && e.value == 1)
				power_off();
	}
	return unused;
}

static void crash(void)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY);

	if (write(fd, "c", 1) != 1)
		abort();
}

/* Network */

static atomic_ullong dialled_bytes;

/* Reads what the other end sends, and sends nothing itself. */
static void *listen_quietly(void *argument)
{
	int fd = (int)(intptr_t)argument;
	char buffer[4096];
	ssize_t count;

	while ((count = read(fd, buffer, sizeof(buffer))) > 0)
		dialled_bytes += count;
	close(fd);
	return NULL;
}

static void start(void *(*job)(void *), void *argument);

static const char *dial(const char *to, unsigned port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval limit = { .tv_sec = 2 }, none = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (inet_pton(AF_INET, to, &address.sin_addr) != 1 || connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		const char *reason = errno == ECONNREFUSED ? "refused" : "no answer";

		close(fd);
		return reason;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
	dialled_bytes = 0;
	start(listen_quietly, (void *)(intptr_t)fd);
	return NULL;
}

/* Sends a frame just as it is given, in hexadecimal, whoever it claims to be from. */
static const char *send_frame(const char *hex)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex("eth0"), .sll_halen = 6 };
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	unsigned char frame[512];
	size_t length = 0;
	unsigned byte;

	while (length < sizeof(frame) && sscanf(hex + 2 * length, "%2x", &byte) == 1)
		frame[length++] = byte;
	if (fd < 0)
		return "no packet socket";
	ssize_t sent = sendto(fd, frame, length, 0, (struct sockaddr *)&address, sizeof(address));

	close(fd);
	return sent == (ssize_t)length ? NULL : "not sent";
}

/* Commands */

static void print_disk(FILE *out, const char *suffix, struct disk *d)
{
	uint64_t at = d->written_at_ms;

	fprintf(out, ", \"writer%s\": %s, \"write_rate%s\": %llu, \"record%s\": %llu, \"record_lag_ms%s\": %lld, "
		"\"record_longest_gap_ms%s\": %llu, \"record_errors%s\": %llu, \"record_area_full%s\": %s",
		suffix, d->on ? "true" : "false", suffix, d->rate, suffix, d->last, suffix,
		at ? (long long)(now_ms() - at) : -1LL, suffix, d->longest_gap_ms, suffix, d->errors, suffix,
		d->full ? "true" : "false");
}

static void print_status(FILE *out)
{
	struct sysinfo s;

	sysinfo(&s);
	fprintf(out, "{\"boot_id\": \"%s\", \"uptime_s\": %.3f", boot_id, now_ns() / 1e9);
	print_disk(out, "", &root);
	print_disk(out, "2", &volume);
	fprintf(out, ", \"memory_load_mib\": %llu, \"memory_load_mib_s\": %llu, \"memory_dirtied_mib\": %llu, \"disk_load_mib_s\": %llu, "
		"\"disk_written_mib\": %llu, \"memory_free_mib\": %llu, \"dialled_bytes\": %llu}\n", memory_mib, memory_rate, memory_done_mib,
		disk_rate, disk_done_mib, (unsigned long long)s.freeram * s.mem_unit / MIB, dialled_bytes);
}

static const char *set_memory(unsigned long long mib, unsigned long long rate)
{
	struct sysinfo s;

	sysinfo(&s);
	if (mib > memory_mib + (unsigned long long)s.freeram * s.mem_unit / MIB - 16)
		return "not so much memory is free";
	memory_rate = rate;
	memory_mib = rate ? mib : 0;
	return NULL;
}

static const char *execute(const char *line, FILE *out)
{
	unsigned long long a = 0, b = 0;
	char text[64];

	if (!strcmp(line, "status")) { print_status(out); return ""; }
	if (!strcmp(line, "verify")) { verify_records(&root, out); return ""; }
	if (!strcmp(line, "verify2")) { verify_records(&volume, out); return ""; }
	if (!strcmp(line, "writer on")) { root.on = true; return NULL; }
	if (!strcmp(line, "writer off")) { root.on = false; return NULL; }
	if (!strcmp(line, "writer2 on")) { volume.full = false; volume.on = true; return NULL; }
	if (!strcmp(line, "writer2 off")) { volume.on = false; return NULL; }
	if (sscanf(line, "write-rate %llu", &a) == 1) { root.rate = volume.rate = a; return NULL; }
	if (!strcmp(line, "reset-gap")) { root.longest_gap_ms = volume.longest_gap_ms = 0; return NULL; }
	if (sscanf(line, "memory %llu %llu", &a, &b) == 2) return set_memory(a, b);
	if (sscanf(line, "disk %llu", &a) == 1) { disk_rate = a; return NULL; }
	if (sscanf(line, "dial %63s %llu", text, &a) == 2) return dial(text, a);
	if (!strncmp(line, "frame ", 6)) return send_frame(line + 6);
	if (!strcmp(line, "sync")) { sync(); return NULL; }
	if (!strcmp(line, "poweroff")) { power_off(); return NULL; }
	if (!strcmp(line, "reboot")) { sync(); reboot(RB_AUTOBOOT); return NULL; }
	if (!strcmp(line, "crash")) { crash(); return NULL; }
	return "unknown command";
}

static void *serve_client(void *argument)
{
	int fd = (int)(intptr_t)argument;
	FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
	char line[1280];

	while (in && out && fgets(line, sizeof(line), in)) {
		line[strcspn(line, "\r\n")] = 0;
		const char *error = execute(line, out);
		if (!error)
			fprintf(out, "{\"ok\": true}\n");
		else if (*error)
			fprintf(out, "{\"error\": \"%s\"}\n", error);
		if (fflush(out))
			break;
	}
	if (in)
		fclose(in);
	if (out)
		fclose(out);
	return NULL;
}

static void start(void *(*job)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 128 * 1024);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attributes, job, argument))
		perror("thread");
}

static void read_boot_id(void)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY);

	if (fd < 0 || read(fd, boot_id, 36) != 36)
		snprintf(boot_id, sizeof(boot_id), "unknown");
	close(fd);
}

int main(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	signal(SIGPIPE, SIG_IGN);
	make_crc_table();
	read_boot_id();
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 64))
		perror("listen");
	start(write_records, &root);
	start(write_records, &volume);
	start(memory_load, NULL);
	start(disk_load, NULL);
	start(power_button, NULL);
	printf("GUEST-UP boot_id=%s uptime_s=%.2f\n", boot_id, now_ns() / 1e9);
	fflush(stdout);
	for (;;) {
		int client = accept(listener, NULL, NULL);

		if (client >= 0)
			start(serve_client, (void *)(intptr_t)client);
		else
			sleep_ns(TICK_NS);
	}
}
