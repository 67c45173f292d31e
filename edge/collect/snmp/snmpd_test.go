package snmp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// objects are what every agent of these tests has, besides its own MIBs; %d is the
// number of the agent.
const objects = `
rocommunity public
rocommunity hush-hush
createUser plain
createUser auth SHA-256 "authpass-1" 
createUser priv SHA-512 "authpass-2" AES "privpass-2"
createUser old MD5 "authpass-3" DES "privpass-3"
rouser plain noauth
rouser auth auth
rouser priv priv
rouser old priv
override 1.3.6.1.4.1.55555.1.0 integer 230%[1]d
override 1.3.6.1.4.1.55555.2.0 integer -%[1]d
override 1.3.6.1.4.1.55555.3.0 octet_str "49.9%[1]d"
override 1.3.6.1.4.1.55555.4.0 octet_str "on line"
override 1.3.6.1.4.1.55555.5.0 uinteger 429496729%[1]d
override 1.3.6.1.4.1.55555.6.0 integer 1
override 1.3.6.1.4.1.55555.7.0 integer 2
override 1.3.6.1.4.1.55555.8.0 counter 12345
override 1.3.6.1.4.1.55555.9.0 integer -32768
override 1.3.6.1.4.1.55555.10.0 object_id .1.3.6
`

const enterprise = "1.3.6.1.4.1.55555."

// snmpd is Debian's agent at work.
type snmpd struct {
	t       *testing.T
	number  int
	address string
	cmd     *exec.Cmd
	out     *os.File
}

var hosts atomic.Int64

// ownHost is a loopback address that no other test uses.
func ownHost() string {
	n := hosts.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 1+(os.Getpid()+60)%250, 100+n/250%100, 1+n%250)
}

func startAgent(t *testing.T, number int) *snmpd {
	t.Helper()
	a := &snmpd{t: t, number: number, address: ownHost() + ":1161"}
	a.start()
	t.Cleanup(a.kill)
	return a
}

func (a *snmpd) start() {
	a.t.Helper()
	path, err := exec.LookPath("snmpd")
	if err != nil {
		path = "/usr/sbin/snmpd"
	}
	dir := a.t.TempDir()
	conf := filepath.Join(dir, "snmpd.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, objects, a.number), 0o600); err != nil {
		a.t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		a.t.Fatal(err)
	}
	a.cmd = exec.Command(path, "-f", "-Lo", "-C", "-c", conf, "-I", "-smux,hrh_storage,hrh_filesys,hr_device,diskio", "udp:"+a.address)
	a.cmd.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+dir, "MIBS=")
	a.cmd.Stdout, a.cmd.Stderr = in, in
	err = a.cmd.Start()
	in.Close()
	if err != nil {
		a.t.Fatalf("%v: run .ci/deps test", err)
	}
	a.out = out
	if err := out.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		a.t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(io.TeeReader(out, &said)); lines.Scan(); {
		if strings.Contains(lines.Text(), "NET-SNMP version") {
			return
		}
	}
	a.t.Fatalf("snmpd does not start: %s", said.String())
}

func (a *snmpd) signal(s syscall.Signal) {
	if err := a.cmd.Process.Signal(s); err != nil {
		a.t.Error(err)
	}
}

func (a *snmpd) kill() {
	if a.cmd.ProcessState != nil {
		return
	}
	_ = a.cmd.Process.Kill() // it may have ended by itself
	_ = a.cmd.Wait()         // says that it was killed
	a.out.Close()
}

func (a *snmpd) meter() schema.Meter {
	return schema.Meter{ID: fmt.Sprint("agent", a.number), Address: a.address}
}

// silent is an address where packets arrive and nothing answers.
func silent(t *testing.T) schema.Meter {
	t.Helper()
	c, err := net.ListenPacket("udp", ownHost()+":1161")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return schema.Meter{ID: "dead", Address: c.LocalAddr().String()}
}

func item(name, oid string) schema.Item {
	return schema.Item{Name: name, OID: oid, Scale: 1}
}

func source() schema.Source {
	return schema.Source{Kind: schema.SourceSNMP, Version: "2c", Timeout: schema.Duration(time.Second), Tries: 2, MaxOIDs: 20, Parallel: 8}
}
