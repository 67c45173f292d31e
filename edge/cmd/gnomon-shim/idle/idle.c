// See idle.go. This runs on the one thread there is, before the Go runtime.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int gnomon_asked;

static struct {
	const char *path;
	long limit, size;
	int files, fd;
} out = {.fd = -1};

static void out_open(void)
{
	struct stat st;
	out.size = 0;
	out.fd = open(out.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (out.fd >= 0 && fstat(out.fd, &st) == 0)
		out.size = st.st_size;
}

static void out_name(char *to, int i)
{
	if (i == 0)
		snprintf(to, PATH_MAX, "%s", out.path);
	else
		snprintf(to, PATH_MAX, "%s.%d", out.path, i);
}

// out_follow makes sure that what is written goes to the end of the current file:
// while one instance takes over from another, both write to the log. It tells
// whether the file is still the same.
static int out_follow(void)
{
	struct stat ours, now;
	if (out.fd < 0 || fstat(out.fd, &ours) != 0)
		return 1;
	out.size = ours.st_size;
	if (lstat(out.path, &now) == 0 && now.st_ino == ours.st_ino && now.st_dev == ours.st_dev)
		return 1;
	close(out.fd);
	out_open();
	return 0;
}

// out_rotate renames the files one further; the oldest falls off. Where renaming
// is impossible the bound is kept rather than the text. Of two writers one does it.
static void out_rotate(void)
{
	static char from[PATH_MAX], to[PATH_MAX];
	int was = out.fd; // has the lock until the files have their names
	if (was >= 0) {
		(void)flock(was, LOCK_EX);
		if (!out_follow())
			return;
	}
	for (int i = out.files - 1; i >= 1; i--) {
		out_name(from, i - 1);
		out_name(to, i);
		(void)rename(from, to);
	}
	if (out.files == 1)
		(void)unlink(out.path);
	out_open();
	if (out.fd >= 0 && out.size >= out.limit && ftruncate(out.fd, 0) == 0)
		out.size = 0;
	if (was >= 0)
		close(was);
}

// out_write never fails: what cannot be written is dropped.
static void out_write(const char *b, long n)
{
	if (out.fd >= 0)
		(void)out_follow();
	while (n > 0) {
		if (out.fd < 0)
			out_open();
		if (out.size >= out.limit || (out.size > 0 && out.size + n > out.limit))
			out_rotate();
		long piece = n < out.limit ? n : out.limit;
		if (out.fd >= 0) {
			ssize_t w = write(out.fd, b, piece);
			if (w < 0 && errno == EINTR)
				continue;
			if (w > 0)
				out.size += w;
		}
		b += piece;
		n -= piece;
	}
}

// main_ended collects every child that has ended but the main one, which it
// leaves for Go to collect.
static int main_ended(pid_t main_pid)
{
	for (;;) {
		siginfo_t si = {0};
		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) != 0)
			return errno != EINTR; // no children: let Go look
		if (si.si_pid == 0)
			return 0;
		if (si.si_pid == main_pid)
			return 1;
		(void)waitid(P_PID, si.si_pid, &si, WEXITED | WNOHANG);
	}
}

// field cuts the next line off *s.
static char *field(char **s)
{
	char *f = *s, *end = f ? strchr(f, '\n') : NULL;
	if (end)
		*end++ = 0;
	*s = end;
	return f ? f : "";
}

static void idle(pid_t main_pid, int pipe_fd, const char *stop, int sig_fd)
{
	static char buf[4096];
	struct pollfd fds[2] = {{.fd = sig_fd, .events = POLLIN}, {.fd = pipe_fd, .events = POLLIN}};
	if (access(stop, F_OK) == 0) {
		gnomon_asked = 1;
		return;
	}
	while (!main_ended(main_pid)) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[1].revents) {
			ssize_t n = read(pipe_fd, buf, sizeof(buf));
			if (n > 0)
				out_write(buf, n);
			else if (n == 0 || (errno != EAGAIN && errno != EINTR))
				fds[1].fd = -1; // the last writer is gone
		}
		struct signalfd_siginfo si;
		if (fds[0].revents && read(sig_fd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo != SIGCHLD) {
			gnomon_asked = 1;
			return;
		}
	}
}

static void __attribute__((constructor)) gnomon_idle(void)
{
	char *env = getenv("GNOMON_SHIM_IDLE");
	if (!env || !*env)
		return;
	char *spec = strdup(env), *rest = spec;
	if (!spec)
		return;
	pid_t main_pid = atoi(field(&rest));
	int pipe_fd = atoi(field(&rest));
	out.limit = atol(field(&rest));
	out.files = atoi(field(&rest));
	const char *stop = field(&rest);
	out.path = field(&rest);
	if (main_pid > 1 && out.limit > 0 && out.files > 0 && *out.path) {
		sigset_t wanted, before;
		sigemptyset(&wanted);
		sigaddset(&wanted, SIGCHLD);
		sigaddset(&wanted, SIGWINCH);
		sigaddset(&wanted, SIGTERM);
		sigaddset(&wanted, SIGHUP);
		sigaddset(&wanted, SIGINT);
		sigprocmask(SIG_BLOCK, &wanted, &before);
		int sig_fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
		if (sig_fd >= 0) {
			idle(main_pid, pipe_fd, stop, sig_fd);
			close(sig_fd);
		}
		if (out.fd >= 0)
			close(out.fd);
		sigprocmask(SIG_SETMASK, &before, NULL);
	}
	free(spec);
}
