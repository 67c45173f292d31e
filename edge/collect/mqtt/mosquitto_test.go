package mqtt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"

	"gnomon/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mosquitto is another's broker at work.
type mosquitto struct {
	t       *testing.T
	address string
	config  string // besides where it listens
	cmd     *exec.Cmd
	out     *os.File
}

func startBroker(t *testing.T, config string) *mosquitto {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mosquitto{t: t, address: l.Addr().String(), config: config}
	l.Close()
	m.start()
	t.Cleanup(m.kill)
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	host, port, err := net.SplitHostPort(m.address)
	if err != nil {
		m.t.Fatal(err)
	}
	conf := filepath.Join(m.t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(conf, []byte("user root\nlistener "+port+" "+host+"\n"+m.config+"\n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	for limit := time.Now().Add(time.Minute); ; {
		out, in, err := os.Pipe()
		if err != nil {
			m.t.Fatal(err)
		}
		m.cmd = exec.Command(path, "-v", "-c", conf)
		m.cmd.Stdout, m.cmd.Stderr = in, in
		err = m.cmd.Start()
		in.Close()
		if err != nil {
			m.t.Fatalf("%v: run .ci/deps test", err)
		}
		m.out = out
		_ = out.SetReadDeadline(time.Now().Add(time.Minute))
		var said strings.Builder
		for lines := bufio.NewScanner(io.TeeReader(out, &said)); lines.Scan(); {
			if strings.Contains(lines.Text(), "running") {
				_ = out.SetReadDeadline(time.Time{})
				go func() { _, _ = io.Copy(io.Discard, out) }() // until it ends
				return
			}
		}
		m.kill()
		if time.Now().After(limit) {
			m.t.Fatalf("mosquitto does not start: %s", said.String())
		}
	}
}

func (m *mosquitto) kill() {
	if m.cmd.ProcessState != nil {
		return
	}
	_ = m.cmd.Process.Kill() // it may have ended by itself
	_ = m.cmd.Wait()         // says that it was killed
	m.out.Close()
}

// device is somebody that publishes.
type device struct {
	t      *testing.T
	client *paho.Client
	conn   net.Conn
}

func (m *mosquitto) device(user, password string) *device {
	m.t.Helper()
	conn, err := net.Dial("tcp", m.address)
	if err != nil {
		m.t.Fatal(err)
	}
	d := &device{t: m.t, conn: conn, client: paho.NewClient(paho.ClientConfig{Conn: conn})}
	hello := &paho.Connect{ClientID: fmt.Sprint("device", conn.LocalAddr()), CleanStart: true, KeepAlive: 60}
	if user != "" {
		hello.UsernameFlag, hello.Username, hello.PasswordFlag, hello.Password = true, user, true, []byte(password)
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	if _, err := d.client.Connect(ctx, hello); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(d.leave)
	return d
}

func (d *device) leave() {
	d.conn.Close()
	<-d.client.Done()
}

// say publishes, and returns when the broker has it.
func (d *device) say(topic, payload string, retained bool) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	_, err := d.client.Publish(ctx, &paho.Publish{Topic: topic, Payload: []byte(payload), QoS: 1, Retain: retained})
	if err != nil && !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "reason: 16") { // 16: nobody listens
		d.t.Errorf("%s: %v", topic, err)
	}
}

// source takes what is retained, too, so that a test can have it said beforehand.
func (m *mosquitto) source() schema.Source {
	return schema.Source{
		Kind: schema.SourceMQTT, Address: m.address, Timeout: schema.Duration(3 * time.Second), Tries: 2, MaxAge: schema.Duration(time.Hour), Retained: true,
	}
}

func item(name, topic, path string) schema.Item {
	return schema.Item{Name: name, Topic: topic, Path: path, Scale: 1}
}
