"""The device whose values Python can read without waiting.

On a GPU, work is queued and Python runs ahead of it; `bool(tensor)`, `.item()`,
`nonzero` or an index by a mask stop it until the queue is empty. So what looks at
values to save work does so only where `device.type == host.HOST`.
"""

HOST = 'cpu'
