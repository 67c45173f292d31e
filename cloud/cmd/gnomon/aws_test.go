package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane/types"
)

// The AWS SDK, unmodified, gets, updates, deletes and lists shadows, and finds
// its own types in what goes wrong.
func TestAWSClient(t *testing.T) {
	s := startCloud(t, t.TempDir())
	ctx := context.Background()
	client := awsClient(s)
	for _, name := range []*string{nil, aws.String("app-config"), aws.String("$odd:name")} {
		t.Run(aws.ToString(name), func(t *testing.T) { awsRoundTrip(ctx, t, client, name) })
	}
	t.Run("list", func(t *testing.T) { awsList(ctx, t, client) })
}

func awsClient(s *server) *iotdataplane.Client {
	return iotdataplane.New(iotdataplane.Options{
		BaseEndpoint: aws.String(s.http), Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("AK", "SK", ""),
	})
}

// The AWS SDK publishes messages and reads back what is retained.
func TestAWSMessages(t *testing.T) {
	client, ctx := awsClient(startCloud(t, t.TempDir())), context.Background()
	publish := func(in iotdataplane.PublishInput) error {
		_, err := client.Publish(ctx, &in)
		return err
	}
	var want []string
	for _, topic := range []string{"a", "a/b", "line 1/motor#no", "/x//y", "ü/%2F?&"} {
		in := iotdataplane.PublishInput{Topic: aws.String(topic), Payload: []byte("of " + topic), Qos: 1, Retain: true,
			UserProperties: aws.String(`[{"k":"v"},{"k":"w"}]`), ContentType: aws.String("text/plain")}
		var invalid *types.InvalidRequestException
		if strings.Contains(topic, "#") {
			if err := publish(in); !errors.As(err, &invalid) {
				t.Errorf("a wildcard: %v, want InvalidRequestException", err)
			}
			continue
		}
		want = append(want, topic)
		if err := publish(in); err != nil {
			t.Fatal(err)
		}
		got, err := client.GetRetainedMessage(ctx, &iotdataplane.GetRetainedMessageInput{Topic: aws.String(topic)})
		if err != nil {
			t.Fatal(err)
		}
		if *got.Topic != topic || string(got.Payload) != "of "+topic || got.Qos != 1 || string(got.UserProperties) != `[{"k":"v"},{"k":"w"}]` ||
			time.Since(time.UnixMilli(got.LastModifiedTime)).Abs() > time.Minute {
			t.Errorf("retained on %q: %+v", topic, got)
		}
	}
	slices.Sort(want)
	awsRetained(ctx, t, client, want)
	if err := publish(iotdataplane.PublishInput{Topic: aws.String("a"), Retain: true}); err != nil {
		t.Fatal(err)
	}
	var missing *types.ResourceNotFoundException
	if _, err := client.GetRetainedMessage(ctx, &iotdataplane.GetRetainedMessageInput{Topic: aws.String("a")}); !errors.As(err, &missing) {
		t.Errorf("after an empty message: %v, want ResourceNotFoundException", err)
	}
	if err := publish(iotdataplane.PublishInput{Topic: aws.String("not/retained"), Payload: []byte("x")}); err != nil {
		t.Error(err)
	}
	awsRetained(ctx, t, client, slices.DeleteFunc(want, func(s string) bool { return s == "a" }))
	if err := publish(iotdataplane.PublishInput{Topic: aws.String("$aws/things/t/shadow/update/accepted"), Payload: []byte("forged")}); err == nil || !strings.Contains(err.Error(), "ForbiddenException") {
		t.Errorf("forging an answer: %v", err)
	}
	request := []byte(`{"state":{"desired":{"on":true}}}`)
	if err := publish(iotdataplane.PublishInput{Topic: aws.String("$aws/things/t:1/shadow/name/s/update"), Payload: request}); err != nil {
		t.Fatal(err)
	}
	got, err := client.GetThingShadow(ctx, &iotdataplane.GetThingShadowInput{ThingName: aws.String("t:1"), ShadowName: aws.String("s")})
	if err != nil || !strings.Contains(string(got.Payload), `"delta":{"on":true}`) {
		t.Errorf("after an update by Publish: %+v (%v)", got, err)
	}
}

// awsRetained lists what is retained in pages of two.
func awsRetained(ctx context.Context, t *testing.T, client *iotdataplane.Client, want []string) {
	t.Helper()
	var got []string
	pages := iotdataplane.NewListRetainedMessagesPaginator(client, &iotdataplane.ListRetainedMessagesInput{MaxResults: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.RetainedTopics {
			got = append(got, *m.Topic)
			if m.PayloadSize != int64(len("of "+*m.Topic)) || m.Qos != 1 || m.LastModifiedTime == 0 {
				t.Errorf("listed %+v", m)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("retained on %q, want %q", got, want)
	}
}

func awsRoundTrip(ctx context.Context, t *testing.T, client *iotdataplane.Client, name *string) {
	thing := aws.String("thing:1_a-B")
	var missing *types.ResourceNotFoundException
	if _, err := client.GetThingShadow(ctx, &iotdataplane.GetThingShadowInput{ThingName: thing, ShadowName: name}); !errors.As(err, &missing) {
		t.Fatalf("get of nothing: %v, want ResourceNotFoundException", err)
	}
	if _, err := client.DeleteThingShadow(ctx, &iotdataplane.DeleteThingShadowInput{ThingName: thing, ShadowName: name}); !errors.As(err, &missing) {
		t.Fatalf("delete of nothing: %v, want ResourceNotFoundException", err)
	}
	update := func(body string) (*iotdataplane.UpdateThingShadowOutput, error) {
		return client.UpdateThingShadow(ctx, &iotdataplane.UpdateThingShadowInput{ThingName: thing, ShadowName: name, Payload: []byte(body)})
	}
	out, err := update(`{"state":{"desired":{"on":true,"level":1},"reported":{"level":1.0}},"clientToken":"tok"}`)
	if err != nil {
		t.Fatal(err)
	}
	var accepted struct {
		Version     int    `json:"version"`
		ClientToken string `json:"clientToken"`
	}
	if err := json.Unmarshal(out.Payload, &accepted); err != nil || accepted.Version != 1 || accepted.ClientToken != "tok" {
		t.Fatalf("accepted %s (%v)", out.Payload, err)
	}
	var conflict *types.ConflictException
	if _, err := update(`{"state":{"desired":{"on":false}},"version":7}`); !errors.As(err, &conflict) {
		t.Fatalf("stale version: %v, want ConflictException", err)
	}
	var invalid *types.InvalidRequestException
	if _, err := update(`{"state":{"desired":{"a":[1,null]}}}`); !errors.As(err, &invalid) {
		t.Fatalf("null in an array: %v, want InvalidRequestException", err)
	}
	var large *types.RequestEntityTooLargeException
	if _, err := update(fmt.Sprintf(`{"state":{"desired":{"a":"%070000d"}}}`, 0)); !errors.As(err, &large) {
		t.Fatalf("too large: %v, want RequestEntityTooLargeException", err)
	}
	var encoding *types.UnsupportedDocumentEncodingException
	if _, err := update("{\"state\":{\"desired\":{\"a\":\"\xff\"}}}"); !errors.As(err, &encoding) {
		t.Fatalf("not UTF-8: %v, want UnsupportedDocumentEncodingException", err)
	}
	got, err := client.GetThingShadow(ctx, &iotdataplane.GetThingShadowInput{ThingName: thing, ShadowName: name})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		State struct{ Delta json.RawMessage }
	}
	if err := json.Unmarshal(got.Payload, &doc); err != nil || string(doc.State.Delta) != `{"on":true}` {
		t.Fatalf("delta %s (%v): 1 and 1.0 are equal, on is not reported", doc.State.Delta, err)
	}
	if _, err := client.DeleteThingShadow(ctx, &iotdataplane.DeleteThingShadowInput{ThingName: thing, ShadowName: name}); err != nil {
		t.Fatal(err)
	}
	if out, err = update(`{"state":{"desired":{"on":true}}}`); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Payload, &accepted); err != nil || accepted.Version != 3 {
		t.Fatalf("made again at version %d, want 3: versions go on over a delete (%v)", accepted.Version, err)
	}
}

func awsList(ctx context.Context, t *testing.T, client *iotdataplane.Client) {
	thing := aws.String("listed")
	for i := range 7 {
		_, err := client.UpdateThingShadow(ctx, &iotdataplane.UpdateThingShadowInput{
			ThingName: thing, ShadowName: aws.String(fmt.Sprintf("s%d", i)), Payload: []byte(`{"state":{}}`),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.UpdateThingShadow(ctx, &iotdataplane.UpdateThingShadowInput{ThingName: thing, Payload: []byte(`{"state":{}}`)}); err != nil {
		t.Fatal(err)
	}
	var names []string
	var token *string
	for {
		out, err := client.ListNamedShadowsForThing(ctx, &iotdataplane.ListNamedShadowsForThingInput{ThingName: thing, PageSize: aws.Int32(3), NextToken: token})
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, out.Results...)
		if token = out.NextToken; token == nil {
			break
		}
	}
	if got := fmt.Sprint(names); got != "[s0 s1 s2 s3 s4 s5 s6]" {
		t.Errorf("listed %s", got)
	}
	out, err := client.ListNamedShadowsForThing(ctx, &iotdataplane.ListNamedShadowsForThingInput{ThingName: aws.String("unknown")})
	if err != nil || len(out.Results) != 0 {
		t.Errorf("an unknown thing has shadows %v (%v)", out, err)
	}
}
