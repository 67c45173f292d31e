// Command bench-peer is what gnomon's own rates are divided by: the same broker
// library with nothing but a hook that acknowledges, and the same HTTP framework
// with nothing but one JSON endpoint. It keeps nothing and promises nothing.
//
//	bench-peer mqtt ADDRESS | bench-peer http ADDRESS
package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"

	"github.com/labstack/echo/v4"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

func main() {
	debug.SetGCPercent(400) // as gnomon has it
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: bench-peer mqtt|http ADDRESS")
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "mqtt":
		err = serveMQTT(os.Args[2])
	case "http":
		err = serveHTTP(os.Args[2])
	default:
		err = fmt.Errorf("unknown peer %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-peer:", err)
		os.Exit(1)
	}
}

// hook acknowledges every publish and delivers none.
type hook struct{ mqtt.HookBase }

func (hook) ID() string { return "peer" }
func (hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPublish}, b) >= 0
}
func (hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (hook) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }
func (hook) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	return pk, packets.CodeSuccessIgnore
}

func serveMQTT(address string) error {
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(hook), nil); err != nil {
		return err
	}
	if err := s.AddListener(listeners.NewTCP(listeners.Config{ID: "t", Address: address})); err != nil {
		return err
	}
	if err := s.Serve(); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
	return s.Close()
}

func serveHTTP(address string) error {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(io.Discard)
	e.POST("/*", func(c echo.Context) error {
		var body map[string]any
		if err := c.Bind(&body); err != nil {
			return err
		}
		return c.JSON(http.StatusOK, body)
	})
	return e.Start(address)
}
