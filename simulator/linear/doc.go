// Package linear checks that the shadow service is linearizable: that whatever
// clients saw of versions and values, while the cloud was killed and connections
// were cut, could have been seen if every request had taken effect at one moment
// between its being sent and its being answered.
//
// It runs the real cloud as a process, cuts connections with toxiproxy, and leaves
// the verdict to porcupine. A run follows from its seed as far as processes and
// networks do. It never repeats a request: what became of one that got no answer
// is unknown, and stays so.
package linear
