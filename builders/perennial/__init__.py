"""What Perennial runs on: types, seams, and one folder a family of strategies."""

import os

# gRPC's handlers of fork start threads in the child, which then may not come to exec; it reads this as it is
# imported, and no child of ours goes on with its parent's channels.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
