"""`python -m services.profile [serve|migrate]`"""

import sys

from services.chassis.process import main
from services.profile.app import ProfileConfig, build, footing

sys.exit(main(ProfileConfig, footing, build))
