// Package external serves shadows through an MQTT 5 broker that is already
// there: mosquitto, EMQX, HiveMQ. It takes requests over shared subscriptions,
// so that replicas share them, and publishes what the shadow service has to say.
//
// It promises that a request is acknowledged to the broker only after the shadow
// service has dealt with it and after its answer was handed to the broker, in
// the order in which the broker sent the requests; that one whose change could
// not be stored isn't acknowledged, so that it comes again; that the requests of
// one thing that this process gets are handed to the service in their order; and
// that publishing blocks nobody.
//
// It never looks into a shadow, and never decides who a client is: that, and who
// may publish and subscribe where, is the broker's. It never takes what it
// publishes for requests: its subscriptions name the topics of requests only.
//
// # What the broker decides
//
//   - A device's PUBACK comes from the broker and says that the broker has the
//     request. That a change is stored is said by `accepted`.
//   - Requests that wait for a replica are the broker's to keep, within its own
//     limits and over its own restarts.
//   - Of two requests that a thing sends without waiting for the first one's
//     answer, two replicas may get one each: then their order is not kept.
//     Versions are compared and set, and reports with an origin that come late
//     are refused, so that nothing is overwritten by chance. The same goes for
//     what two replicas publish: the version in each message tells.
//   - A request may come twice when a connection is lost. An update is then made
//     twice, unless it names a version or an origin.
//   - Requests to names that no thing or shadow can have are dropped in silence,
//     as are requests beyond Config.MaxPacket. Nobody gets 429.
//   - What is retained can't be read back.
//
// # Limits
//
//   - Config.InFlight requests are under way; the broker holds the others.
//   - Config.Queue messages, and Config.QueueBytes, wait to be published. Beyond,
//     and while the broker is away, the oldest are dropped and counted: whoever
//     missed them finds out at the next sync or get.
//   - Reconnecting waits from Config.BackoffMin to Config.BackoffMax, at random.
package external
