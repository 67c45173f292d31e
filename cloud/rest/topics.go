package rest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"gnomon/cloud/identity"
	"gnomon/cloud/message"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Messages is the broker as HTTP sees it.
type Messages interface {
	// Send publishes a message; a shadow request has then been dealt with.
	Send(ctx context.Context, p identity.Principal, m message.Message) error
	Retained(ctx context.Context, p identity.Principal, topic string) (*message.Retained, error)
	ListRetained(ctx context.Context, p identity.Principal, after string, limit int) (list []message.Retained, next string, err error)
}

// Paths below which a topic is the rest of the path, its slashes plain or encoded.
const (
	topicsPath   = "/topics/"
	retainedPath = "/retainedMessage"
)

// namesTopic tells whether a path ends in a topic.
func namesTopic(path string) bool {
	return strings.HasPrefix(path, topicsPath) || strings.HasPrefix(path, retainedPath+"/")
}

func (s *Server) messageRoutes() {
	if s.cfg.Topics == nil {
		return
	}
	s.echo.POST(topicsPath+"*", s.publish)
	s.echo.GET(retainedPath, s.listRetained)
	s.echo.GET(retainedPath+"/*", s.getRetained)
}

// maxPublish is the contract's bound on a message's payload, in bytes.
const maxPublish = 128 << 10

// publish answers Publish. As over MQTT, a shadow request that is rejected has
// been published all the same: its answer goes to its own topics.
func (s *Server) publish(c echo.Context) error {
	m, err := messageOf(c)
	if err != nil {
		return contractError(c, err)
	}
	if m.Payload, err = s.bounded(c.Request(), maxPublish); err != nil {
		return contractError(c, err)
	}
	ctx := c.Request().Context()
	if err := s.cfg.Topics.Send(ctx, s.principal(ctx), m); err != nil {
		return contractError(c, err)
	}
	return c.JSON(http.StatusOK, map[string]string{"message": "OK"})
}

// The headers of Publish.
const (
	headerCorrelation = "X-Amz-Mqtt5-Correlation-Data"
	headerFormat      = "X-Amz-Mqtt5-Payload-Format-Indicator"
	headerUser        = "X-Amz-Mqtt5-User-Properties"
)

func messageOf(c echo.Context) (m message.Message, err error) {
	invalid := func(what string) (message.Message, error) {
		return m, &wire.Error{Code: wire.CodeInvalidRequest, Message: what}
	}
	m = message.Message{Topic: c.Param("*"), ContentType: c.QueryParam("contentType"), ResponseTopic: c.QueryParam("responseTopic")}
	switch c.QueryParam("qos") {
	case "", "0":
	case "1":
		m.QoS = 1
	default:
		return invalid("qos must be 0 or 1")
	}
	switch c.QueryParam("retain") {
	case "", "false":
	case "true":
		m.Retain = true
	default:
		return invalid("retain must be true or false")
	}
	if text := c.QueryParam("messageExpiry"); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return invalid("messageExpiry must be a whole number of seconds below 2^32")
		}
		m.Expiry = uint32(n)
	}
	h := c.Request().Header
	if m.Correlation, err = base64.StdEncoding.DecodeString(h.Get(headerCorrelation)); err != nil {
		return invalid(headerCorrelation + " must be base64")
	}
	switch h.Get(headerFormat) {
	case "", "UNSPECIFIED_BYTES":
	case "UTF8_DATA":
		m.UTF8 = true
	default:
		return invalid(headerFormat + " must be UNSPECIFIED_BYTES or UTF8_DATA")
	}
	if m.User, err = userProperties(h.Get(headerUser)); err != nil {
		return invalid(headerUser + " must be a base64-encoded JSON array of objects with one string each")
	}
	if strings.ContainsAny(m.ResponseTopic, "+#") || len(m.ResponseTopic)+len(m.ContentType) > maxProperties {
		return invalid("responseTopic must have no wildcard, and with contentType at most 8192 bytes")
	}
	return m, nil
}

// maxProperties bounds what a message carries beside its payload, in bytes.
const maxProperties = 8 << 10

// userProperties reads [{"key":"value"}, …] out of a header.
func userProperties(header string) (pairs []message.Pair, err error) {
	if header == "" {
		return nil, nil
	}
	if len(header) > maxProperties {
		return nil, &shadow.LimitError{Field: "user properties", Limit: maxProperties, Got: len(header)}
	}
	text, err := base64.StdEncoding.DecodeString(header)
	if err != nil {
		return nil, err
	}
	var list []map[string]string
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	for _, object := range list {
		if len(object) != 1 {
			return nil, fmt.Errorf("an object with %d members", len(object))
		}
		for key, value := range object {
			pairs = append(pairs, message.Pair{Key: key, Value: value})
		}
	}
	return pairs, nil
}
