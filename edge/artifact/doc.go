// Package artifact turns a component reference into a directory that a workload
// can run from: found on the node's own disk, checked, and unpacked once.
//
// A reference is name@version, looked up in the components directory, or
// file:///path, with #tag behind it to choose from an OCI layout that holds
// several images. What it names may be an OCI image layout (a directory, or a
// tar of one), a root file system or package as .tar, .tar.gz or .tgz, or a
// plain directory.
//
// Promises: content of a layout is used only if every digest on the way from its
// index to its files is right. Unpacking writes nothing outside its own
// directory, whatever the archive says, and stays within limits. A tree is seen
// whole or not at all, also after a power cut, and is kept by the digest of its
// content: of an archive the file's, or the image's where it holds several. A plain
// directory is used where it is and never written to.
//
// It never fetches anything over a network.
package artifact
