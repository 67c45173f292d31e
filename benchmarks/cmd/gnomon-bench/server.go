package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"gnomon/simulator/cloudproc"
	"gnomon/simulator/figures"
)

// server is a process under load.
type server struct {
	name    string
	mqtt    string // host:port
	http    string
	pid     int
	stop    func()
	elapsed float64 // seconds of processor time at the last mark
}

// mark returns the seconds of processor time since the last mark.
func (s *server) mark() float64 {
	u, err := figures.ReadUsage(s.pid)
	if err != nil {
		return 0
	}
	d := u.CPUSeconds - s.elapsed
	s.elapsed = u.CPUSeconds
	return d
}

// startCloud starts gnomon with an empty store.
func startCloud(ctx context.Context, args ...string) (*server, error) {
	binary, err := cloudproc.Beside("gnomon")
	if err != nil {
		return nil, err
	}
	cfg, remove, err := cloudproc.Scratch(binary)
	if err != nil {
		return nil, err
	}
	cfg.Args = args
	cloud, err := cloudproc.Start(cfg)
	if err != nil {
		remove()
		return nil, err
	}
	s := &server{name: "gnomon", mqtt: cfg.MQTT, http: cfg.HTTP, pid: cloud.PID(), stop: func() { cloud.Kill(); remove() }}
	if err := cloud.Ready(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// startPeer starts bench-peer in one of its two roles.
func startPeer(ctx context.Context, role string) (*server, error) {
	binary, err := cloudproc.Beside("bench-peer")
	if err != nil {
		return nil, err
	}
	address, err := cloudproc.FreeAddress()
	if err != nil {
		return nil, err
	}
	return launch(ctx, "bench-peer "+role, address, exec.Command(binary, role, address))
}

// startMosquitto starts mosquitto without persistence.
func startMosquitto(ctx context.Context) (*server, error) {
	binary, err := exec.LookPath("mosquitto")
	if err != nil {
		binary = "/usr/sbin/mosquitto"
	}
	address, err := cloudproc.FreeAddress()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gnomon-bench-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %s %s\nallow_anonymous true\npersistence false\nlog_type error\nmax_connections -1\nuser root\n", port, host)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s, err := launch(ctx, "mosquitto", address, exec.Command(binary, "-c", file))
	if err != nil {
		return nil, fmt.Errorf("%w; mosquitto is in Debian's package of that name: .ci/deps bench", err)
	}
	stop := s.stop
	s.stop = func() { stop(); _ = os.RemoveAll(dir) }
	return s, nil
}

// launch starts a process that dies with this one, and waits for its port.
func launch(ctx context.Context, name, address string, cmd *exec.Cmd) (*server, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s := &server{name: name, mqtt: address, http: address, pid: cmd.Process.Pid, stop: func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
			return s, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			s.stop()
			return nil, errors.Join(fmt.Errorf("%s does not listen on %s", name, address), err)
		}
	}
}
