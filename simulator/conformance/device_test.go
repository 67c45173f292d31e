package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// installDevice installs the SDK in a directory of the test from the registry
// that npm is configured with, exactly as its lock file says.
func installDevice(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: run `.ci/deps test` (%v)", program, err)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "device.js"} {
		text, err := os.ReadFile(filepath.Join("testdata", "device-sdk", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=1", "--prefer-offline")
	npm.Dir, npm.WaitDelay = dir, 5*time.Second
	if out, err := npm.CombinedOutput(); err != nil {
		if ctx.Err() != nil || unreachable.Match(out) {
			t.Skipf("skip: npm can't download the AWS device SDK from here (1 test skipped): %v: %.500s", err, out)
		}
		t.Fatalf("npm ci: %v: %s", err, out)
	}
	return dir
}

// unreachable is what npm says when there is no registry to be had, rather than
// something wrong with what it holds.
var unreachable = regexp.MustCompile(`ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ENOTCACHED|ERR_SOCKET_TIMEOUT|code E40[0-9]|code E50[0-9]`)

// said is one line of the device.
type said struct {
	Event, Name, Status, Token, Error string
	Failed                            json.RawMessage
	Answer                            json.RawMessage
}

// device is device.js at work.
type device struct {
	t     *testing.T
	lines *bufio.Scanner
	goOn  io.Writer // a line lets it do what it waits to do
	thing string
}

// expect returns the next line that is about event, and fails at one that tells
// of a failure.
func (d *device) expect(event, status string) said {
	d.t.Helper()
	for d.lines.Scan() {
		var s said
		if err := json.Unmarshal(d.lines.Bytes(), &s); err != nil {
			d.t.Fatalf("the device says %q (%v)", d.lines.Text(), err)
		}
		switch {
		case s.Event == "foreign" || s.Event == "close":
			continue // others' changes; and the end
		case s.Event != event || s.Status != status || s.Error != "" || s.Failed != nil || s.Name != "" && s.Name != d.thing:
			d.t.Fatalf("the device says %s, want %s %s", d.lines.Text(), event, status)
		}
		return s
	}
	d.t.Fatalf("the device is silent where %s %s was due (%v)", event, status, d.lines.Err())
	return said{}
}

func (d *device) answered(s said, want string) {
	d.t.Helper()
	if err := same(s.Answer, want); err != nil {
		d.t.Errorf("%s: %v", s.Event, err)
	}
}

// The AWS IoT device SDK for JavaScript, unmodified, over TLS with a certificate
// of its own: it registers, gets, updates, is told of what an operator desires
// over HTTP, reports it, and deletes.
func TestDeviceSDK(t *testing.T) { deviceSDK(t, service(t)) }

func deviceSDK(t *testing.T, cfg Config) {
	dir := installDevice(t)
	certificates(t, dir)
	port := terminateTLS(t, dir, cfg.MQTT)
	about := subject(Case{}, false)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "device.js", dir, "localhost", port, about.Thing)
	node.Dir, node.WaitDelay = dir, 5*time.Second
	var complaints strings.Builder
	node.Stderr = &complaints
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = node.Wait() // killed, unless it has ended by itself
		if t.Failed() {
			t.Logf("node: %s", complaints.String())
		}
	}()
	d := &device{t: t, lines: bufio.NewScanner(out), goOn: in, thing: about.Thing}
	d.conversation(&httpClient{base: "http://" + cfg.HTTP, about: about})
}

func (d *device) conversation(operator *httpClient) {
	defer operator.close()
	d.t.Helper()
	const stamp = `{"timestamp":0}`
	d.expect("registered", "")
	d.answered(d.expect("status", "rejected"), fmt.Sprintf(`{"code":404,"message":"No shadow exists with name: '%s'","timestamp":0}`, d.thing))
	d.answered(d.expect("status", "accepted"), `{"state":{"reported":{"on":false,"speed":[1,2]}},
		"metadata":{"reported":{"on":`+stamp+`,"speed":[`+stamp+`,`+stamp+`]}},"version":1,"timestamp":0}`)
	d.answered(d.expect("status", "accepted"), `{"state":{"reported":{"on":false,"speed":[1,2]}},
		"metadata":{"reported":{"on":`+stamp+`,"speed":[`+stamp+`,`+stamp+`]}},"version":1,"timestamp":0}`)
	d.expect("waiting", "")
	operator.update(d.t, `{"state":{"desired":{"on":true}}}`)
	d.answered(d.expect("delta", ""), `{"version":2,"timestamp":0,"state":{"on":true},"metadata":{"on":`+stamp+`}}`)
	d.answered(d.expect("status", "accepted"), `{"state":{"reported":{"on":true}},"metadata":{"reported":{"on":`+stamp+`}},"version":3,"timestamp":0}`)
	d.expect("reported", "")
	got, err := operator.do(d.t.Context(), Get, "")
	if err == nil {
		err = same(got.body, `{"state":{"desired":{"on":true},"reported":{"on":true,"speed":[1,2]}},
			"metadata":{"desired":{"on":`+stamp+`},"reported":{"on":`+stamp+`,"speed":[`+stamp+`,`+stamp+`]}},"version":3,"timestamp":0}`)
	}
	if err != nil {
		d.t.Errorf("after the device's report: %v", err)
	}
	if _, err := io.WriteString(d.goOn, "\n"); err != nil {
		d.t.Fatal(err)
	}
	d.answered(d.expect("status", "accepted"), `{"version":3,"timestamp":0}`)
	d.expect("end", "")
	if got, err := operator.do(d.t.Context(), Get, ""); err != nil || got.code != 404 {
		d.t.Errorf("after the device's delete: %+v (%v)", got, err)
	}
}
