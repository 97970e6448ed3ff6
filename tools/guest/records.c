/* The guest's records; see records.h for their purpose and the disk's layout. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "records.h"

struct record {
	char magic[8];
	uint64_t number;
	uint64_t uptime_us;
	char boot_id[40];
	uint8_t filler[SECTOR - 8 - 8 - 8 - 40 - 4];
	uint32_t crc32;		/* zlib's, of everything before it */
} __attribute__((packed));
_Static_assert(sizeof(struct record) == SECTOR, "a record is one sector");

char boot_id[40];
static uint32_t crc_table[256];

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

uint64_t now_ms(void)
{
	return now_ns() / 1000000;
}

void sleep_ns(uint64_t ns)
{
	struct timespec t = { ns / 1000000000ULL, ns % 1000000000ULL };

	nanosleep(&t, NULL);
}

void make_crc_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? 0xEDB88320U ^ (c >> 1) : c >> 1;
		crc_table[i] = c;
	}
}

static uint32_t crc32(const void *data, size_t size)
{
	const uint8_t *p = data;
	uint32_t c = ~0U;

	while (size--)
		c = crc_table[(c ^ *p++) & 0xFF] ^ (c >> 8);
	return ~c;
}

void *aligned_buffer(size_t size)
{
	void *p = NULL;

	if (posix_memalign(&p, PAGE, size))
		abort();
	return memset(p, 0, size);
}

static bool is_record(const struct record *r, uint64_t number)
{
	return !memcmp(r->magic, "NBMREC01", 8) && r->number == number
		&& r->crc32 == crc32(r, offsetof(struct record, crc32));
}

static void fill_record(struct record *r, uint64_t number)
{
	memcpy(r->magic, "NBMREC01", 8);
	r->number = number;
	r->uptime_us = now_ns() / 1000;
	memcpy(r->boot_id, boot_id, sizeof(boot_id));
	memset(r->filler, (int)(number & 0xFF), sizeof(r->filler));
	r->crc32 = crc32(r, offsetof(struct record, crc32));
}

uint64_t disk_size(int fd)
{
	uint64_t size = 0;

	return ioctl(fd, BLKGETSIZE64, &size) ? 0 : size;
}

uint64_t scratch_start(uint64_t size)
{
	return size / 4 * 3 / MIB * MIB;
}

static uint64_t record_slots(const struct disk *d, int fd)
{
	uint64_t end = scratch_start(disk_size(fd));

	return end > d->start ? (end - d->start) / SECTOR : 0;
}

static off_t record_offset(const struct disk *d, uint64_t number)
{
	return d->start + (number - 1) * SECTOR;
}

/* Records are contiguous from 1, so the last one can be found by halving. */
static uint64_t find_last_record(const struct disk *d, int fd)
{
	struct record *r = aligned_buffer(SECTOR);
	uint64_t low = 0, high = record_slots(d, fd);

	while (low < high) {
		uint64_t middle = low + (high - low + 1) / 2;

		if (pread(fd, r, SECTOR, record_offset(d, middle)) == SECTOR && is_record(r, middle))
			low = middle;
		else
			high = middle - 1;
	}
	free(r);
	return low;
}

static void note_written(struct disk *d, uint64_t number)
{
	uint64_t now = now_ms(), before = d->written_at_ms;

	if (before && now - before > d->longest_gap_ms)
		d->longest_gap_ms = now - before;
	d->written_at_ms = now;
	d->last = number;
}

static void write_to(struct disk *d, int fd)
{
	struct record *r = aligned_buffer(SECTOR);
	uint64_t slots = record_slots(d, fd), due = now_ns();

	while (d->on && !(d->full = d->last >= slots)) {
		fill_record(r, d->last + 1);
		if (pwrite(fd, r, SECTOR, record_offset(d, d->last + 1)) == SECTOR)
			note_written(d, d->last + 1);	/* O_DSYNC: it is on the disk now */
		else if (d->errors++ > 100)
			d->on = false;
		uint64_t now = now_ns();
		due = d->rate ? due + 1000000000ULL / d->rate : now;
		if (due > now)
			sleep_ns(due - now);
		else if (now - due > 1000000000ULL)
			due = now;	/* after a long pause: do not make up for it in a burst */
	}
	free(r);
	d->written_at_ms = 0;
}

void *write_records(void *argument)
{
	struct disk *d = argument;

	for (;; sleep_ns(TICK_NS)) {
		if (!d->on || d->full)
			continue;
		int fd = open(d->path, O_RDWR | O_DIRECT | O_DSYNC);
		if (fd < 0) {
			d->errors++;
			d->on = false;
			continue;
		}
		d->last = find_last_record(d, fd);
		write_to(d, fd);
		close(fd);
	}
	return NULL;
}

void verify_records(struct disk *d, FILE *out)
{
	uint64_t last = d->last, good = 0, missing = 0, corrupt = 0, number = 1;
	char *buffer = aligned_buffer(MIB);
	int fd = open(d->path, O_RDONLY | O_DIRECT);

	while (fd >= 0 && number <= last && pread(fd, buffer, MIB, record_offset(d, number)) > 0) {
		for (size_t i = 0; i < MIB / SECTOR && number <= last; i++, number++) {
			struct record *r = (struct record *)(buffer + i * SECTOR);

			if (is_record(r, number))
				good++;
			else if (!r->number && !r->crc32)
				missing++;
			else
				corrupt++;
		}
	}
	if (number <= last)
		missing += last - number + 1;
	fprintf(out, "{\"last\": %llu, \"good\": %llu, \"missing\": %llu, \"corrupt\": %llu}\n", (unsigned long long)last,
		(unsigned long long)good, (unsigned long long)missing, (unsigned long long)corrupt);
	if (fd >= 0)
		close(fd);
	free(buffer);
}
