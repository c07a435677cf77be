/* The system calls of a scan that reads every header, and nothing else: a lower bound for any program that does.
 *
 * scan DIRECTORY: prints how many nanoseconds it took and how many files it read.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	static char page[4096];
	if (argc != 2)
		return 2;
	long long begin = now();
	long files = 0;
	DIR *dir = opendir(argv[1]);
	if (!dir) {
		perror(argv[1]);
		return 1;
	}
	struct dirent *entry;
	while ((entry = readdir(dir))) {
		size_t length = strlen(entry->d_name);
		struct stat status;
		if (length < 5 || strcmp(entry->d_name + length - 5, ".json"))
			continue;
		int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &status) || read(fd, page, sizeof page) < 0) {
			perror(entry->d_name);
			return 1;
		}
		close(fd);
		files++;
	}
	closedir(dir);
	printf("%lld %ld\n", now() - begin, files);
	return 0;
}
