package sftpc

// Handle is an open file or directory.
type Handle string

// Stat asks for the attributes of a file; it follows links.
func (x *Exchange) Stat(path string) *Pending[Attrs] {
	return ask(x, newPacket(fxpStat).string(path), nil, nil, fxpAttrs, func(f *fields, _ *answer) Attrs { return f.attrs() })
}

// Fstat asks for the attributes of an open file.
func (x *Exchange) Fstat(h Handle) *Pending[Attrs] {
	return ask(x, newPacket(fxpFstat).string(string(h)), nil, nil, fxpAttrs, func(f *fields, _ *answer) Attrs { return f.attrs() })
}

// Open opens a file.
func (x *Exchange) Open(path string, flags uint32) *Pending[Handle] {
	return x.handle(newPacket(fxpOpen).string(path).uint32(flags).uint32(0))
}

// OpenDir opens a directory for ReadDir.
func (x *Exchange) OpenDir(path string) *Pending[Handle] {
	return x.handle(newPacket(fxpOpendir).string(path))
}

func (x *Exchange) handle(p packet) *Pending[Handle] {
	return ask(x, p, nil, nil, fxpHandle, func(f *fields, _ *answer) Handle { return Handle(f.string()) })
}

// Close closes a handle.
func (x *Exchange) Close(h Handle) *Pending[Void] {
	return x.do(newPacket(fxpClose).string(string(h)), nil)
}

// ReadAt asks for bytes into dst, which belongs to the Client until the answer has been awaited. The answer may be shorter than
// dst.
func (x *Exchange) ReadAt(h Handle, dst []byte, off int64) *Pending[int] {
	p := newPacket(fxpRead).string(string(h)).uint64(uint64(off)).uint32(uint32(len(dst)))
	return ask(x, p, nil, dst, fxpData, func(_ *fields, a *answer) int { return a.n })
}

// WriteAt sends a write. It returns once b has been sent.
func (x *Exchange) WriteAt(h Handle, b []byte, off int64) *Pending[Void] {
	return x.do(newPacket(fxpWrite).string(string(h)).uint64(uint64(off)).uint32(uint32(len(b))), b)
}

// ReadDir asks for the next entries of a directory; io.EOF after the last.
func (x *Exchange) ReadDir(h Handle) *Pending[[]Name] {
	return ask(x, newPacket(fxpReaddir).string(string(h)), nil, nil, fxpName, func(f *fields, _ *answer) []Name { return f.names() })
}

// RealPath asks for the canonical form of a path, without links.
func (x *Exchange) RealPath(path string) *Pending[string] {
	return ask(x, newPacket(fxpRealpath).string(path), nil, nil, fxpName, func(f *fields, _ *answer) string {
		names := f.names()
		if len(names) != 1 {
			f.bad = true
			return ""
		}
		return names[0].Name
	})
}

// Mkdir makes a directory.
func (x *Exchange) Mkdir(path string) *Pending[Void] {
	return x.do(newPacket(fxpMkdir).string(path).uint32(0), nil)
}

// Remove removes a file.
func (x *Exchange) Remove(path string) *Pending[Void] {
	return x.do(newPacket(fxpRemove).string(path), nil)
}

// Rename renames a file. According to the protocol it fails if the new name exists; not every server complies.
func (x *Exchange) Rename(from, to string) *Pending[Void] {
	return x.do(newPacket(fxpRename).string(from).string(to), nil)
}

// Link makes a hard link (hardlink@openssh.com); it fails if the new name exists.
func (x *Exchange) Link(from, to string) *Pending[Void] {
	return x.do(newPacket(fxpExtended).string("hardlink@openssh.com").string(from).string(to), nil)
}

// Fsync makes an open file durable (fsync@openssh.com).
func (x *Exchange) Fsync(h Handle) *Pending[Void] {
	return x.do(newPacket(fxpExtended).string("fsync@openssh.com").string(string(h)), nil)
}

// StatVFS asks for the space of a file system (statvfs@openssh.com).
func (x *Exchange) StatVFS(path string) *Pending[Space] {
	p := newPacket(fxpExtended).string("statvfs@openssh.com").string(path)
	return ask(x, p, nil, nil, fxpExtendedReply, func(f *fields, _ *answer) (s Space) {
		f.uint64() // the block size for reading
		s.BlockSize, s.Blocks = f.uint64(), f.uint64()
		f.uint64() // the free blocks, including those reserved for root
		s.Available = f.uint64()
		return s
	})
}
