package modbus

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The tests wait for time limits more than they compute, so many of them run at
// once whatever the number of processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f != nil {
		if err := f.Value.Set("32"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		for _, dir := range []string{libmodbusDir, modbusSerialDir} {
			if dir == "" {
				continue
			}
			if err := os.RemoveAll(dir); err != nil {
				panic(err)
			}
		}
		os.Exit(code)
	}))
}
