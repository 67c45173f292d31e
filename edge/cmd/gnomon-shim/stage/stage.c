// See stage.go. This runs on the one thread there is, before the Go runtime.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// The descriptors, in the order stage.go passes them.
enum { SELF = 3, REPORT = 4, FILTER = 5, STATUS = 6 };

// fail tells why the program does not run: errno and where it was met.
static void fail(char where)
{
	unsigned char b[2] = {(unsigned char)errno, (unsigned char)where};
	(void)!write(REPORT, b, sizeof(b));
	_exit(127);
}

// confine installs the filter that is read from a pipe; an empty one is none.
static void confine(void)
{
	static unsigned char code[BPF_MAXINSNS * sizeof(struct sock_filter)];
	size_t n = 0;
	for (;;) {
		ssize_t r = read(FILTER, code + n, sizeof(code) - n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			fail('s');
		if (r == 0)
			break;
		n += r;
	}
	struct sock_fprog prog = {.len = n / sizeof(struct sock_filter), .filter = (struct sock_filter *)code};
	if (prog.len > 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) != 0)
		fail('s');
}

static void run(char **argv)
{
	execvp(argv[0], argv);
	fail('x');
}

// reap is the life of a container's first process that isn't its program: it
// passes signals on and collects what others have left behind.
static void reap(pid_t child, const sigset_t *all)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid == child) {
			(void)!write(STATUS, &status, sizeof(status));
			_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
		}
		if (pid > 0)
			continue;
		siginfo_t si;
		int sig = sigwaitinfo(all, &si);
		if (sig > 0 && sig != SIGCHLD)
			(void)kill(child, sig);
	}
}

static void __attribute__((constructor(101))) gnomon_stage(int argc, char **argv)
{
	if (argc < 4 || strcmp(argv[1], "gnomon-stage") != 0)
		return;
	int first = argv[2][0] == 'i';
	for (int fd = SELF; fd <= STATUS; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	confine();
	if (!first)
		run(argv + 3);
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid_t child = fork();
	if (child < 0)
		fail('f');
	if (child == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		run(argv + 3);
	}
	close(REPORT);
	(void)prctl(PR_SET_NAME, "gnomon-init");
	reap(child, &all);
}
