package modbus

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gnomon/schema"
)

// advice ends the message of a test that lacks a program.
const advice = "run .ci/deps test"

// program is another's program at work.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	out *os.File // what it says
	log bytes.Buffer
}

// launch starts a program, and waits until it says ready ("" = doesn't wait).
func launch(t *testing.T, ready, name string, args ...string) *program {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: %s", err, advice)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, cmd: exec.Command(path, args...), out: out}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	err = p.cmd.Start()
	in.Close()
	if err != nil {
		t.Fatalf("%v: %s", err, advice)
	}
	t.Cleanup(p.kill)
	if ready == "" {
		return p
	}
	if err := out.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(io.TeeReader(out, &p.log)); lines.Scan(); {
		if strings.Contains(lines.Text(), ready) {
			return p
		}
	}
	t.Fatalf("%s did not say %q, but: %s", name, ready, p.log.String())
	return nil
}

// kill ends the program as if its power was cut.
func (p *program) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()         // says that it was killed
	p.out.Close()
}

// until waits for what gives no event.
func (p *program) until(what string, done func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for ; !done(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.kill()
			p.t.Fatalf("%s: %s does not happen", p.cmd, what)
		}
	}
}

// maker starts a slave that isn't ours at an address or on a device.
type maker struct {
	name  string
	start func(t *testing.T, kind schema.SourceKind, at string) *program
	check func(t *testing.T, values map[string]float64)
	tcp   bool // it speaks Modbus TCP alone
}

var makers = []maker{
	{"pymodbus", startPymodbus, checkPymodbus, false},
	{"libmodbus", startLibmodbus, checkLibmodbus, false},
	{"modbus-serial", startModbusSerial, checkLibmodbus, true},
}

// python tells whether what the demonstration's slave needs is there.
var python = sync.OnceValue(func() error {
	out, err := exec.Command("/usr/bin/python3", "-c", "import pymodbus, serial_asyncio").CombinedOutput()
	if err != nil {
		return fmt.Errorf("pymodbus: %w: %s", err, out)
	}
	return nil
})

func startPymodbus(t *testing.T, kind schema.SourceKind, at string) *program {
	t.Helper()
	if err := python(); err != nil {
		t.Fatalf("%v: %s", err, advice)
	}
	script := filepath.Join("..", "..", "..", "deploy", "demo", "sdm630_slave.py")
	if kind == schema.SourceModbusTCP {
		p := launch(t, "", "/usr/bin/python3", script, "--tcp", at)
		p.until("listening", func() bool { return accepts(at) })
		return p
	}
	p := launch(t, "", "/usr/bin/python3", script, "--rtu", at, "--baud", strconv.Itoa(baud))
	p.until("opening "+at, func() bool { return p.holds(at) })
	return p
}

func accepts(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// holds tells whether the program has a device open.
func (p *program) holds(device string) bool {
	target, err := filepath.EvalSymlinks(device)
	if err != nil {
		return false
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
	if err != nil {
		return false
	}
	for _, f := range files {
		if to, err := os.Readlink(f); err == nil && to == target {
			return true
		}
	}
	return false
}

// libmodbusDir is where the slave on libmodbus is built; TestMain removes it.
var libmodbusDir string

// libmodbus builds the slave on libmodbus, once.
var libmodbus = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "libmodbus")
	if err != nil {
		return "", err
	}
	libmodbusDir = dir
	program := filepath.Join(dir, "slave")
	out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-o", program, "testdata/libmodbus_slave.c", "-lmodbus").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the slave on libmodbus: %w: %s", err, out)
	}
	return program, nil
})

func startLibmodbus(t *testing.T, kind schema.SourceKind, at string) *program {
	t.Helper()
	path, err := libmodbus()
	if err != nil {
		t.Fatalf("%v: %s", err, advice)
	}
	if kind == schema.SourceModbusTCP {
		host, port, err := net.SplitHostPort(at)
		if err != nil {
			t.Fatal(err)
		}
		return launch(t, "ready", path, "tcp", host, port)
	}
	return launch(t, "ready", path, "rtu", at, strconv.Itoa(baud), "1")
}

// modbusSerialDir is where modbus-serial is installed; TestMain removes it.
var modbusSerialDir string

// modbusSerial installs the slave on Node.js' modbus-serial, once, from the registry
// that npm is configured with and exactly as its lock file says.
var modbusSerial = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "modbus-serial")
	if err != nil {
		return "", err
	}
	modbusSerialDir = dir
	for _, name := range []string{"package.json", "package-lock.json", "slave.js"} {
		text, err := os.ReadFile(filepath.Join("testdata", "modbus-serial", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=1", "--prefer-offline")
	npm.Dir, npm.WaitDelay = dir, 5*time.Second
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w: %s", err, out)
	}
	return dir, nil
})

// unreachable is what npm says when there is no registry to be had, rather than
// something wrong with what it holds.
var unreachable = regexp.MustCompile(`ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ENOTCACHED|ERR_SOCKET_TIMEOUT|code E40[0-9]|code E50[0-9]|deadline exceeded|killed`)

func startModbusSerial(t *testing.T, _ schema.SourceKind, at string) *program {
	t.Helper()
	dir, err := modbusSerial()
	if err != nil && unreachable.MatchString(err.Error()) {
		t.Skipf("skip: npm can't download modbus-serial from here: %.500v", err)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, advice)
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	return launch(t, "ready", "node", filepath.Join(dir, "slave.js"), host, port)
}

// baud is the speed of lines, which a pseudoterminal doesn't have.
const baud = 115200

// rig is a slave that isn't ours on a medium of its own.
type rig struct {
	t      *testing.T
	maker  maker
	source schema.Source
	far    string // where the slave is
	slave  *program
	line   *program // socat, between source and far; nil on Modbus TCP
}

func newRig(t *testing.T, mk maker, kind schema.SourceKind) *rig {
	t.Helper()
	hole := 16
	r := &rig{t: t, maker: mk, source: schema.Source{
		Kind: kind, Timeout: schema.Duration(400 * time.Millisecond), Tries: 2, MaxHole: &hole,
	}}
	if kind == schema.SourceModbusRTU {
		r.source.Port = filepath.Join(t.TempDir(), "near")
		r.source.Baud, r.source.Data, r.source.Parity, r.source.Stop = baud, 8, "N", 1
	} else {
		r.source.Address = ownHost() + ":5020"
	}
	r.far = r.source.Address
	if kind != schema.SourceModbusTCP {
		r.far = filepath.Join(t.TempDir(), "far")
		r.plug()
	}
	r.slave = mk.start(t, kind, r.far)
	return r
}

// plug lays the line: between two pseudoterminals, or, as a serial server does,
// between one and a TCP port.
func (r *rig) plug() {
	r.t.Helper()
	far := "pty,raw,echo=0,link=" + r.far
	if r.source.Kind == schema.SourceModbusRTUOver {
		host, port, err := net.SplitHostPort(r.source.Address)
		if err != nil {
			r.t.Fatal(err)
		}
		r.line = launch(r.t, "listening on", "socat", "-d", "-d", far, "tcp-listen:"+port+",bind="+host+",reuseaddr")
		return
	}
	r.line = launch(r.t, "starting data transfer loop", "socat", "-d", "-d", far, "pty,raw,echo=0,link="+r.source.Port)
}

// unplug takes the line away, and the devices at both ends with it.
func (r *rig) unplug() {
	r.t.Helper()
	r.line.kill()
	for _, link := range []string{r.far, r.source.Port} {
		if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
			r.t.Fatal(err)
		}
	}
}

// restart starts the slave anew after it was killed.
func (r *rig) restart() {
	r.t.Helper()
	r.slave = r.maker.start(r.t, r.source.Kind, r.far)
}
