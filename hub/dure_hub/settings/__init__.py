"""Every knob, where things lie in the data folder, and where the values come from."""

from dure_hub.settings.addresses import DEFAULT_DATA as DEFAULT_DATA
from dure_hub.settings.folder import RESERVE as RESERVE
from dure_hub.settings.folder import DataFolder as DataFolder
from dure_hub.settings.images import Image as Image
from dure_hub.settings.knobs import FLEETS as FLEETS
from dure_hub.settings.knobs import Settings as Settings
from dure_hub.settings.sources import load_settings as load_settings
from dure_hub.settings.sources import resolve_settings as resolve_settings
