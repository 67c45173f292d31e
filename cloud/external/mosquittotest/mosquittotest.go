// Package mosquittotest runs real mosquitto brokers for tests, on free ports of
// loopback, with their state in the test's own directory. It is imported by
// tests only. It never uses a broker that it didn't start, and never skips:
// without mosquitto a test fails and says what to install.
package mosquittotest

import (
	"bytes"
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

// patience is how long a broker may take to do what it is asked.
const patience = 30 * time.Second

// Broker is one mosquitto.
type Broker struct {
	Port int

	t      testing.TB
	dir    string
	config string // path
	cmd    *exec.Cmd
	done   chan struct{}
}

// persistent has a broker that is killed know its sessions and what waits in
// them when it comes back, and keep as much as the tests send.
const persistent = `listener %d 127.0.0.1
allow_anonymous true
persistence true
persistence_location %s/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
max_inflight_messages 100
`

// forgetful has a broker that knows nothing when it comes back.
const forgetful = `listener %d 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
# %s
`

// Start starts a broker that remembers, which ends with the test. More lines are
// its configuration, as mosquitto.conf has them.
func Start(t testing.TB, lines ...string) *Broker {
	t.Helper()
	return start(t, persistent, lines)
}

// StartForgetful starts a broker that forgets all when it is killed.
func StartForgetful(t testing.TB, lines ...string) *Broker {
	t.Helper()
	return start(t, forgetful, lines)
}

func start(t testing.TB, kind string, lines []string) *Broker {
	t.Helper()
	b := &Broker{Port: FreePort(t), t: t, dir: t.TempDir()}
	b.write(fmt.Sprintf(kind, b.Port, b.dir) + strings.Join(lines, "\n") + "\n")
	b.run()
	return b
}

// asRoot keeps a broker that root starts from becoming a user who can't read the
// test's directory.
func asRoot() string {
	if os.Getuid() == 0 {
		return "user root\n"
	}
	return ""
}

// StartWith starts a broker with a whole configuration, which has a listener on
// port. Relative paths in it begin at dir.
func StartWith(t testing.TB, dir string, port int, config string) *Broker {
	t.Helper()
	b := &Broker{Port: port, t: t, dir: dir}
	b.write(config)
	b.run()
	return b
}

func (b *Broker) write(config string) {
	b.t.Helper()
	b.config = filepath.Join(b.dir, "mosquitto.conf")
	if err := os.WriteFile(b.config, []byte(asRoot()+config), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *Broker) run() {
	b.t.Helper()
	b.t.Cleanup(func() {
		if b.cmd != nil {
			b.Kill()
		}
	})
	b.Again()
}

func tool(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto"} { // not in everybody's PATH
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("mosquitto is needed: run .ci/deps test")
	return ""
}

// Ports handed out lie below those that the kernel gives to outgoing connections
// (from 32768 on Linux), so that none of them takes one while a broker is down.
const firstPort, portCount = 25_000, 5_000

// port counts the ports handed out. Processes start far apart, as their
// identifiers follow each other.
var port atomic.Uint32

func init() { port.Store(uint32(os.Getpid()) * 641 % portCount) } //nolint:gosec // an identifier is positive

// FreePort returns a port that was free a moment ago, and none twice before all
// others had their turn.
func FreePort(t testing.TB) int {
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

// Address is host:port of the broker.
func (b *Broker) Address() string { return "127.0.0.1:" + strconv.Itoa(b.Port) }

// URL is what the cloud takes.
func (b *Broker) URL() string { return "mqtt://" + b.Address() }

// Again starts a broker that was killed, on the same port with the same state.
func (b *Broker) Again() {
	b.t.Helper()
	log, err := os.OpenFile(filepath.Join(b.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	b.cmd = exec.Command(tool(b.t), "-c", b.config)
	b.cmd.Dir = b.dir
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	done, cmd := make(chan struct{}), b.cmd
	b.done = done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	b.await()
}

func (b *Broker) await() {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		c, err := net.Dial("tcp", b.Address())
		if err == nil {
			c.Close()
			tick.Stop()
			return
		}
		select {
		case <-b.done:
			b.t.Fatalf("mosquitto ended: %s", b.Log())
		default:
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("mosquitto doesn't listen: %v: %s", err, b.Log())
		}
	}
}

// Kill ends the broker at whatever it is doing.
func (b *Broker) Kill() {
	_ = b.cmd.Process.Kill()
	<-b.done
}

// Stop asks the broker to end, which lets it save what it holds.
func (b *Broker) Stop() {
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	<-b.done
}

// Pause stops the broker without closing its connections, Resume lets it go on.
func (b *Broker) Pause() { _ = b.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused broker go on.
func (b *Broker) Resume() { _ = b.cmd.Process.Signal(syscall.SIGCONT) }

// Log returns the end of what the broker said.
func (b *Broker) Log() string {
	text, _ := os.ReadFile(filepath.Join(b.dir, "log"))
	if i := len(text) - 2000; i > 0 {
		text = text[i:]
	}
	return string(bytes.TrimSpace(text))
}
