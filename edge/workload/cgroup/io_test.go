package cgroup

import (
	"os/exec"
	"path/filepath"
	"testing"
)

func TestIO_Tables(t *testing.T) {
	r, w := ioStat("254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:0 rbytes=1 wbytes=2\n")
	if r != 4097 || w != 8194 {
		t.Errorf("v2: %d %d", r, w)
	}
	if r, w = processIO("rchar: 1\nread_bytes: 3\nwrite_bytes: 4\ncancelled_write_bytes: 0\n"); r != 3 || w != 4 {
		t.Errorf("process: %d %d", r, w)
	}
	r, w = serviceBytes("254:0 Read 100\n254:0 Write 50\n254:0 Sync 1\n254:0 Total 150\n8:0 Read 1\nTotal 151\n")
	if r != 101 || w != 50 {
		t.Errorf("v1: %d %d", r, w)
	}
}

// A process in the group has a child write to disk, past every cache; the group
// has it while the process lives, whether or not a controller counts here.
func TestIO_CountsWhatIsWritten(t *testing.T) {
	g := testGroup(t)
	if err := g.Create(Limits{}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "f")
	cmd := exec.Command("sh", "-c", "read go; dd if=/dev/zero of="+file+" bs=1M count=2 oflag=direct 2>/dev/null && echo done; read end")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	if err := g.Join(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	_, before := g.IO()
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	if n, _ := out.Read(make([]byte, 8)); n == 0 {
		t.Skip("this file system takes no direct writes")
	}
	if _, after := g.IO(); after-before < 2<<20 {
		t.Errorf("2 MiB were written to disk, counted are %d bytes", after-before)
	}
}
