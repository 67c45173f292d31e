// Command peer is what tests run in containers where a shell is not enough.
//
//	peer serve PORT    answers over TCP and UDP with the name of its host
//	peer calls         tells what becomes of system calls
//	peer group         leaves its process group, and stays
package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		serve(os.Args[2])
	}
	if len(os.Args) == 2 && os.Args[1] == "calls" {
		calls()
	}
	if len(os.Args) == 2 && os.Args[1] == "group" {
		if err := unix.Setpgid(0, 0); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("in a group of its own")
		time.Sleep(time.Hour)
	}
	fmt.Fprintln(os.Stderr, "usage: peer serve PORT | calls | group")
	os.Exit(2)
}

func calls() {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.SplitSeq(string(status), "\n") {
		if v, ok := strings.CutPrefix(line, "Seccomp:\t"); ok {
			fmt.Println("seccomp " + v)
		}
	}
	tell := func(name string, errno unix.Errno) {
		if errno == 0 {
			fmt.Println(name + ": <nil>")
		} else {
			fmt.Println(name + ": " + errno.Error())
		}
	}
	call := func(name string, number uintptr, args ...uintptr) {
		args = append(args, 0, 0, 0)
		_, _, errno := unix.RawSyscall(number, args[0], args[1], args[2])
		tell(name, errno)
	}
	call("keyctl", unix.SYS_KEYCTL, 0, ^uintptr(2))
	call("mount", unix.SYS_MOUNT)
	call("clone3", unix.SYS_CLONE3)
	call("unknown", 4000)
	call("vsock", unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM)
	call("tcp", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM)
	call("personality 0x40000", unix.SYS_PERSONALITY, 0x40000)
	_, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, 0, 0, 0)
	tell("personality 0", errno)
	runtime.LockOSThread()
	done := make(chan unix.Errno)
	go func() {
		runtime.LockOSThread()
		errno, _ := unix.Unshare(unix.CLONE_NEWUTS).(unix.Errno)
		done <- errno
	}()
	tell("unshare", <-done)
	fmt.Println("over")
	for {
		time.Sleep(time.Hour)
	}
}

func serve(port string) {
	name, _ := os.Hostname()
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	packets, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("up")
	go func() {
		buf := make([]byte, 1024)
		for {
			_, from, err := packets.ReadFrom(buf)
			if err == nil {
				_, _ = packets.WriteTo([]byte("answer from "+name+"\n"), from)
			}
		}
	}()
	for {
		c, err := listener.Accept()
		if err != nil {
			continue
		}
		fmt.Fprintf(c, "answer from %s\n", name)
		c.Close()
	}
}
