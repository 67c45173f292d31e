// Package index finds shadows: an index in memory over all shadows of the
// store, with selectors to ask it by, lists in parts and counts by group.
//
// It promises that an answer knows every change that was committed through
// this process before the question, that lists go on at a key and so miss and
// repeat nothing that stays, and that neither a question nor what devices report
// can make it grow without bound. It is ready once it has read the whole store.
//
// Memory: a row of fixed size for each shadow and an entry for each thing (the
// benchmark states both), with strings that many have in common kept once and
// cut after MaxText bytes. At Config.MaxShadows rows it takes no new shadows and
// says so in every answer.
//
// What other processes write to a shared store it knows when it is told, or when
// it is asked to wait for it. Whoever tells it says, too, when something was
// missed, and the store is read again at once, though never for more than a tenth
// of the time. It takes versions as they come, and an older one never replaces a
// newer.
//
// It holds no documents, never changes one, and nothing it says is the truth:
// that is in the documents, of which it only says where to look.
package index
