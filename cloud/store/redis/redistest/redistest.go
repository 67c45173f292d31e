// Package redistest runs real Redis servers for tests: one, or a cluster of
// six, on free ports of loopback, with an append-only file synced at every
// write, in the test's own directory. It is imported by tests only. It never
// uses a server that it didn't start, and never skips: without redis-server a
// test fails and says what to install.
package redistest

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to do what it is asked.
const patience = 30 * time.Second

// Server is one redis-server.
type Server struct {
	Port int

	t        testing.TB
	dir      string
	args     []string
	secure   *Secure // nil: no TLS, no users
	sentinel string  // configuration of a Sentinel; "" = a server
	cmd      *exec.Cmd
	done     chan struct{}
}

// Start starts a server, which ends with the test. More arguments are its
// configuration, as redis-server takes them.
func Start(t testing.TB, args ...string) *Server { t.Helper(); return start(t, nil, args...) }

func start(t testing.TB, secure *Secure, args ...string) *Server {
	t.Helper()
	s := &Server{Port: freePort(t), t: t, dir: t.TempDir(), args: args, secure: secure}
	t.Cleanup(s.Kill)
	s.Again()
	return s
}

// The programs are Redis', or those that the environment names: valkey-server
// and valkey-cli.
var (
	serverProgram = cmp.Or(os.Getenv("REDIS_SERVER"), "redis-server")
	cliProgram    = cmp.Or(os.Getenv("REDIS_CLI"), "redis-cli")
)

func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed: run .ci/deps test: %v", name, err)
	}
	return path
}

// Ports handed out lie below those that the kernel gives to outgoing connections
// (from 32768 on Linux), so that none of them takes one while a server is down,
// and so do those 10000 higher, where a cluster's bus listens.
const firstPort, portCount = 12_000, 3_000

// port counts the ports handed out. Processes start far apart, as their
// identifiers follow each other.
var port atomic.Uint32

func init() { port.Store(uint32(os.Getpid()) * 641 % portCount) } //nolint:gosec // an identifier is positive

// freePort returns a port that was free a moment ago, and none twice before all
// others had their turn.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		free := firstPort + int(port.Add(1)%portCount)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(free))
		if err == nil {
			l.Close()
			return free
		}
	}
	t.Fatal("no free port")
	return 0
}

// Address is host:port of the server.
func (s *Server) Address() string { return "127.0.0.1:" + strconv.Itoa(s.Port) }

// URL is what the store's adapter takes; every call names another prefix, so
// that tests can share a server.
func (s *Server) URL(prefix string) string {
	return s.secure.scheme() + "://" + s.Address() + "/0?prefix=" + prefix
}

// Again starts a server that was killed, on the same port with the same data.
func (s *Server) Again() {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	args := append(s.secure.listen(strconv.Itoa(s.Port)),
		"--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no")
	args = append(append(args, s.secure.users()...), s.args...)
	if s.sentinel != "" {
		args = []string{s.sentinel, "--sentinel"}
	}
	s.cmd = exec.Command(tool(s.t, serverProgram), args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done, cmd := make(chan struct{}), s.cmd
	s.done = done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	s.await("PING", func(answer string) bool { return answer == "PONG" })
}

// Kill ends the server at whatever it is doing.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// Pause stops the server without closing its connections, Resume lets it go on.
func (s *Server) Pause() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Do sends the server a command through redis-cli and returns the answer.
func (s *Server) Do(args ...string) string {
	connect := append([]string{"-p", strconv.Itoa(s.Port)}, s.secure.cli(s.sentinel != "")...)
	out, err := exec.Command(tool(s.t, cliProgram), append(connect, args...)...).CombinedOutput()
	if err != nil {
		return "error: " + err.Error() + ": " + string(out)
	}
	return strings.TrimSpace(string(out))
}

// await asks until the answer is as wanted.
func (s *Server) await(command string, ok func(string) bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		answer := s.Do(strings.Fields(command)...)
		if ok(answer) {
			tick.Stop()
			return
		}
		select {
		case <-s.done:
			s.t.Fatalf("redis-server ended: %s", s.log())
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("redis-server %s: %s: %s", command, answer, s.log())
		}
	}
}

func (s *Server) log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	if i := len(b) - 2000; i > 0 {
		b = b[i:]
	}
	return string(bytes.TrimSpace(b))
}

// Cluster is three masters with a replica each.
type Cluster struct {
	Servers []*Server
	t       testing.TB
	secure  *Secure
}

// StartCluster starts a cluster that notices a dead master within a second or
// two, and waits until every member knows all slots.
func StartCluster(t testing.TB) *Cluster { t.Helper(); return startCluster(t, nil) }

func startCluster(t testing.TB, secure *Secure) *Cluster {
	t.Helper()
	c := &Cluster{t: t, secure: secure}
	settings := []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no",
		"--repl-diskless-sync-delay", "0"}
	if secure != nil {
		settings = append(settings, "--tls-cluster", "yes")
	}
	args := append(secure.cli(false), "--cluster", "create")
	for range 6 {
		s := start(t, secure, settings...)
		c.Servers = append(c.Servers, s)
		args = append(args, s.Address())
	}
	args = append(args, "--cluster-replicas", "1", "--cluster-yes")
	if out, err := exec.Command(tool(t, cliProgram), args...).CombinedOutput(); err != nil {
		t.Fatalf("redis-cli %v: %v: %s", args, err, out)
	}
	for _, s := range c.Servers {
		s.await("CLUSTER INFO", func(answer string) bool {
			return strings.Contains(answer, "cluster_state:ok") && strings.Contains(answer, "cluster_known_nodes:6")
		})
		s.await("INFO replication", func(answer string) bool {
			return strings.Contains(answer, "role:master") && strings.Contains(answer, "state=online") || strings.Contains(answer, "master_link_status:up")
		})
	}
	return c
}

// URL is what the store's adapter takes.
func (c *Cluster) URL(prefix string) string {
	var hosts []string
	for _, s := range c.Servers {
		hosts = append(hosts, s.Address())
	}
	return fmt.Sprintf("%s+cluster://%s/?prefix=%s", c.secure.scheme(), strings.Join(hosts, ","), prefix)
}

// Masters returns the servers that are masters now.
func (c *Cluster) Masters() (masters []*Server) {
	for _, s := range c.Servers {
		if strings.HasPrefix(s.Do("ROLE"), "master") {
			masters = append(masters, s)
		}
	}
	return masters
}

// AwaitMasters waits until the servers but the given one, which was killed, have
// agreed on n masters that have all slots.
func (c *Cluster) AwaitMasters(n int, but *Server) {
	c.t.Helper()
	for _, s := range c.Servers {
		if s == but {
			continue
		}
		s.await("CLUSTER INFO", func(answer string) bool {
			return strings.Contains(answer, "cluster_state:ok") && strings.Contains(answer, "cluster_slots_ok:16384")
		})
	}
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(50 * time.Millisecond); len(c.Masters()) < n; <-tick.C {
		if time.Now().After(deadline) {
			tick.Stop()
			c.t.Fatalf("%d masters, want %d", len(c.Masters()), n)
		}
	}
}
