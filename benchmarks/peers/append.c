/* The system calls of an acknowledgement, and nothing else: append 300 bytes to a file, sync them.
 *
 * append FILE TIMES: prints the median time of an append in nanoseconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static char line[300];
	if (argc != 3)
		return 2;
	int times = atoi(argv[2]);
	long long *took = malloc(times * sizeof *took);
	int fd = open(argv[1], O_CREAT | O_WRONLY | O_TRUNC, 0600);
	if (fd < 0 || !took) {
		perror(argv[1]);
		return 1;
	}
	memset(line, 'x', sizeof line);
	line[sizeof line - 1] = '\n';
	for (int i = 0; i < times; i++) {
		long long begin = now();
		if (write(fd, line, sizeof line) != sizeof line || fdatasync(fd)) {
			perror(argv[1]);
			return 1;
		}
		took[i] = now() - begin;
	}
	qsort(took, times, sizeof *took, by_size);
	printf("%lld\n", took[times / 2]);
	return 0;
}
