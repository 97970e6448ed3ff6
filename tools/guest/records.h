/*
 * The guest's records: numbered, checksummed, one sector each, written one after the other and flushed each, so that
 * whoever holds the disk later can tell which was the last one and whether any is missing.
 *
 * Disk layout: records from the disk's `start` up to three quarters of the disk; the last quarter is scratch space for the
 * disk load. Record N lies N-1 sectors after the start.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { SECTOR = 512, PAGE = 4096, TICK_NS = 10000000 };
#define MIB (1024ULL * 1024)

struct disk {
	const char *path;
	uint64_t start;
	atomic_bool on, full;
	atomic_ullong rate, last, written_at_ms, longest_gap_ms, errors;
};

extern char boot_id[40];

uint64_t now_ns(void);
uint64_t now_ms(void);
void sleep_ns(uint64_t ns);
void *aligned_buffer(size_t size);
uint64_t disk_size(int fd);
uint64_t scratch_start(uint64_t size);

void make_crc_table(void);
void *write_records(void *disk);		/* a thread: writes while the disk's `on` is set */
void verify_records(struct disk *d, FILE *out);	/* one JSON line */
