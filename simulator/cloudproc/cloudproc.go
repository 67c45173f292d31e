// Package cloudproc runs the real `gnomon cloud --dev` as a child process, so
// that experiments measure and kill what operators run. The child never
// outlives its parent: the kernel kills it when this process ends.
//
// It never reads or writes inside the data directory, and never deletes it.
package cloudproc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Config says what to run. All fields but Args are needed, and MQTT only where
// the cloud has its own broker.
type Config struct {
	Binary string   // path of gnomon
	Data   string   // data directory, kept over restarts
	HTTP   string   // host:port of REST
	MQTT   string   // host:port of MQTT
	Log    string   // file that the child's output is appended to
	Args   []string // further arguments of `gnomon cloud`
}

// ErrExited means that the cloud ended though nobody asked it to.
var ErrExited = errors.New("the cloud exited")

// Cloud is one run of the process.
type Cloud struct {
	cfg  Config
	cmd  *exec.Cmd
	done chan struct{} // closed once the process is reaped
	once sync.Once
}

// Start starts the process and returns at once; Ready waits for it to serve.
// The caller owns its end: Kill or Stop.
func Start(cfg Config) (*Cloud, error) {
	out, err := os.OpenFile(cfg.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start cloud: log: %w", err)
	}
	defer out.Close()
	args := []string{"cloud", "--dev", "--data", cfg.Data, "--http", cfg.HTTP}
	if cfg.MQTT != "" {
		args = append(args, "--mqtt", cfg.MQTT)
	}
	args = append(args, cfg.Args...)
	cmd := exec.Command(cfg.Binary, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start cloud: %w", err)
	}
	c := &Cloud{cfg: cfg, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// Ready waits until the cloud answers /readyz with 200.
func (c *Cloud) Ready(ctx context.Context) error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if answersOK(ctx, client, "http://"+c.cfg.HTTP+"/readyz") {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the cloud's /readyz: %w", context.Cause(ctx))
		case <-c.done:
			return fmt.Errorf("%w (%s): %s", ErrExited, c.cmd.ProcessState, c.LogTail())
		case <-tick.C:
		}
	}
}

func answersOK(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode == http.StatusOK
}

// Kill ends the process with SIGKILL, at whatever it is doing, and returns once
// it is gone.
func (c *Cloud) Kill() {
	c.once.Do(func() { _ = c.cmd.Process.Kill() })
	<-c.done
}

// Stop asks the process to end and kills it after grace.
func (c *Cloud) Stop(grace time.Duration) error {
	select {
	case <-c.done:
		return fmt.Errorf("%w (%s): %s", ErrExited, c.cmd.ProcessState, c.LogTail())
	default:
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
		return nil
	case <-timer.C:
		c.Kill()
		return fmt.Errorf("stop cloud: still there %s after SIGTERM, killed", grace)
	}
}

// Exited is closed once the process is gone.
func (c *Cloud) Exited() <-chan struct{} { return c.done }

// PID returns the process identifier.
func (c *Cloud) PID() int { return c.cmd.Process.Pid }

// LogTail returns the last lines of the child's output.
func (c *Cloud) LogTail() string {
	const keep = 2048
	f, err := os.Open(c.cfg.Log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > keep {
		_, _ = f.Seek(-keep, io.SeekEnd)
	}
	b, err := io.ReadAll(io.LimitReader(f, keep))
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b))
}

// Ports handed out lie below those that the kernel gives to outgoing connections
// (from 32768 on Linux), so that none of them takes one while a server is down.
const firstPort, portCount = 15_000, 7_000

// port counts the ports handed out. Processes start far apart, as their
// identifiers follow each other.
var port atomic.Uint32

func init() { port.Store(uint32(os.Getpid()) * 641 % portCount) } //nolint:gosec // an identifier is positive

// FreeAddress returns a loopback address that was free a moment ago. It does not
// return one twice before all others had their turn: experiments side by side
// ask for addresses before they use them.
func FreeAddress() (string, error) {
	const tries = 100
	var last error
	for range tries {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+int(port.Add(1)%portCount)))
		l, err := net.Listen("tcp", address)
		if err == nil {
			return address, l.Close()
		}
		last = err
	}
	return "", fmt.Errorf("find a free port: %w", last)
}

// Beside returns the path of the program called name that lies beside the
// running one.
func Beside(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find %s beside this program: %w", name, err)
	}
	return path, nil
}

// Scratch returns a Config for binary with free ports and a new temporary data
// directory; the returned function removes what it made.
func Scratch(binary string) (Config, func(), error) {
	dir, err := os.MkdirTemp("", "gnomon-sim-")
	if err != nil {
		return Config{}, nil, fmt.Errorf("make a data directory: %w", err)
	}
	remove := func() { _ = os.RemoveAll(dir) }
	cfg := Config{Binary: binary, Data: filepath.Join(dir, "data"), Log: filepath.Join(dir, "cloud.log")}
	if cfg.HTTP, err = FreeAddress(); err == nil {
		cfg.MQTT, err = FreeAddress()
	}
	if err != nil {
		remove()
		return Config{}, nil, err
	}
	return cfg, remove, nil
}
