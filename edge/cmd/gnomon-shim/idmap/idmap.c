// See idmap.go.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "idmap.h"

// hold keeps a namespace there until it is killed, or whoever wants it is gone.
static int hold(void *parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (syscall(SYS_getppid) != *(pid_t *)parent)
		return 0;
	for (;;)
		pause();
}

static int put(pid_t pid, const char *name, const char *map)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size_t len = strlen(map);
	int err = write(fd, map, len) == (ssize_t)len ? 0 : -errno;
	close(fd);
	return err;
}

int gnomon_user_namespace(const char *map, int *namespace)
{
	// The child shares this memory, so that nothing of it has to be copied, and
	// writes to none of it but its stack.
	static char stack[16384] __attribute__((aligned(64)));
	pid_t self = getpid();
	pid_t pid = clone(hold, stack + sizeof(stack), CLONE_NEWUSER | CLONE_VM, &self);
	if (pid < 0)
		return -errno;
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	int err = put(pid, "uid_map", map);
	if (err == 0)
		err = put(pid, "gid_map", map);
	if (err == 0) {
		*namespace = open(path, O_RDONLY | O_CLOEXEC);
		err = *namespace < 0 ? -errno : 0;
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	return err;
}
